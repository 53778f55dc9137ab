"""`python -m mpckit bench speech`: does secure transcription keep up with the speaker?

Two parties on engines, one thread each, online from features to scores; medians. Wav2Letter in full size hears one
second at once. The small network of the zoo (`letters`) hears a stream: `real time` is what a chunk takes over its
length, below 1 where it keeps up, and `lag` how long after the first word of a chunk its letters are there: the chunk,
what the network looks ahead, the computing. The link is this machine's own loopback; LAN and WAN are emulated.
"""

import json
import statistics
import time

import torch

from ..nn import private
from ..runtime.meter import LAN, WAN
from ..runtime.report import duration, size
from ..tensor import secret
from .cases import CASES
from .options import Options

TAKES = ("suite", "repeat", "json")
WHOLE = "wav2letter_1s"
CHUNKS = 0.25, 0.5, 1.0, 2.0  # seconds


def whole(team, repeat: int) -> dict:
    """Wav2Letter in full size on a second of audio."""
    from ..engines.team import only

    case = CASES[WHOLE]
    torch.manual_seed(0)
    arguments = only(1, case.model()), only(0, *case.inputs()), repeat
    parties, report = team.run(_again, *arguments, progress=False)
    return _row(WHOLE, 1.0, parties, report)


def streamed(team, chunk: float, repeat: int) -> dict:
    """The zoo's network on `repeat` chunks of a recording, after one that warms up."""
    from ..engines.team import only
    from ..zoo.speech import RATE, Letters, letters, spoken_strings

    strings = spoken_strings(2 + round(chunk * repeat))  # of more than a second each
    audio = torch.cat([audio for audio, _ in strings])[: round((repeat + 1) * chunk * RATE)]
    arguments = only(1, letters(pretrained=True)), only(0, audio), chunk
    parties, report = team.run(_listen, *arguments, progress=False)
    row = _row("letters", chunk, parties, report)
    return row | {"lag": chunk + Letters.field // 2 * Letters.hop / RATE + row["seconds"]}


def _again(model, audio, repeat):
    """(seconds, seconds of CPU) of each inference."""
    model, rows = private(model, owner=1), []
    for _ in range(repeat + 1):
        start, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            model(secret(audio, owner=0)).reveal(to=0)
        rows.append((time.perf_counter() - start, time.process_time() - cpu))
    return rows


def _listen(model, audio, chunk):
    """(seconds, seconds of CPU) of each chunk."""
    from ..zoo.speech import stream

    model, rows, cpu = private(model, owner=1), [], time.process_time()
    for heard in stream(model, audio, chunk):
        rows.append((heard.seconds, time.process_time() - cpu))
        cpu = time.process_time()
    return rows


def _row(case: str, audio: float, parties: list, report) -> dict:
    """What one inference takes; the first does not count. Seconds are those of the party that is slower."""
    seconds, cpu = (max(statistics.median(r[i] for r in rows[1:]) for rows in parties) for i in (0, 1))
    count = len(parties[0])
    return {
        "case": case,
        "suite": report.suite,
        "audio": audio,
        "rounds": report.rounds() // count,
        "sent_bytes": report.sent() // count,
        "cpu_s": cpu,
        "seconds": seconds,
        "real_time": seconds / audio,
    }


def main(names: list[str], options: Options) -> int:
    """Print a table, or one JSON object per line. Returns the exit status."""
    from ..engines.team import cluster

    if names:
        print(f"`bench speech` has no parts to choose from, so nothing is named {', '.join(names)}")
        return 2
    if not options.json:
        print("two engines, one thread each, online; medians")
        print(
            f"{'case':15}{'suite':6}{'link':>10}{'audio':>8}{'rounds':>8}{'sent':>9}{'cpu':>9}{'seconds':>9}"
            f"{'real time':>11}{'lag':>9}"
        )
    for suite in (options.suite,) if options.suite else ("bits", "fss"):
        for link in (None, LAN, WAN):
            emulated = {"link": link, "emulate_link": True} if link else {}
            with cluster(parties=2, threads=1, suite=suite, **emulated) as team:
                rows = [] if link else [whole(team, options.repeat or 3)]
                for row in rows + [streamed(team, chunk, options.repeat or 8) for chunk in CHUNKS]:
                    _print(row | {"link": link.name if link else "loopback"}, options.json)
    return 0


def _print(row: dict, as_json: bool | None):
    if as_json:
        print(json.dumps(row), flush=True)
        return
    lag = duration(row["lag"]) if "lag" in row else "-"
    print(
        f"{row['case']:15}{row['suite']:6}{row['link']:>10}{duration(row['audio']):>8}{row['rounds']:>8}"
        f"{size(row['sent_bytes']):>9}{duration(row['cpu_s']):>9}{duration(row['seconds']):>9}"
        f"{row['real_time']:>11.2f}{lag:>9}",
        flush=True,
    )
