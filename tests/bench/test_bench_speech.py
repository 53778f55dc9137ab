"""What it takes to keep up with a speaker; rounds and bytes are exact, seconds only printed.

streamed(team, 0.5, 2)     # {"rounds": 32, "seconds": …, "real_time": …, "lag": …}
"""

from mpckit.__main__ import main
from mpckit.bench import CASES, Options, speech
from mpckit.engines.team import cluster
from mpckit.zoo.speech import Letters


def test_a_stream_is_measured_chunk_by_chunk(capsys):
    with cluster(parties=2, threads=1) as team:
        row = speech.streamed(team, 0.5, 2)
    frames = Letters.field + 2 * 24  # 25 steps
    assert row["sent_bytes"] > 8 * 40 * frames and row["rounds"] > 6 * 4
    assert row["real_time"] == row["seconds"] / 0.5 and row["lag"] == 0.5 + 0.33 + row["seconds"]
    speech._print(row | {"link": "loopback"}, None)
    assert capsys.readouterr().out.split()[:3] == ["letters", "bits", "loopback"]


def test_wav2letter_hears_a_second_of_speech_with_weights_that_are_not_zero():
    (audio,), model = CASES[speech.WHOLE].inputs(), CASES[speech.WHOLE].model()
    assert audio.shape == (1, 1, 16_000) and audio.abs().max() > 0.1
    assert model(audio).detach().std() > 0.01  # the signal reaches the end
    assert min(p.std().item() for p in model.parameters() if p.dim() > 1) > 1e-3


def test_names_are_refused(capsys):
    assert main(["bench", "speech", "letters"]) == 2 and "no parts" in capsys.readouterr().out
    assert speech.main(["x"], Options()) == 2
