"""The example to show a friend: the same program with the same seeds says the same bytes in one process and on
engines.
"""

import pytest
import torch

import mpckit as mk
from mpckit.engines.team import cluster
from mpckit.offline.plan import to_meta
from mpckit.zoo import digits, lenet


def program(image, model):
    model = mk.private(model, owner=1)
    return model(mk.secret(image, owner=0)).reveal(to=0)


def arguments(party):
    """What `party` passes: its own value, and the shape of the others'."""
    image, model = digits().images[:2], lenet(pretrained=True)
    return image if party in (0, None) else to_meta(image), model if party in (1, None) else to_meta(model)


def on_an_engine(seat, draws, suite):
    session = mk.Session(
        seat.parties, here=(seat.party,), wire=seat.wire, dealer=seat.dealer, insecure_seed=11, record=True, suite=suite
    )
    session.prepare(draws)
    with session:
        value = program(*arguments(seat.party))
    return value, session.transcript, session.report()


@pytest.mark.parametrize(("parties", "suite"), [(2, "bits"), (3, "bits"), (2, "fss")])
def test_engines_say_what_the_simulator_says_byte_for_byte(parties, suite):
    planned = mk.plan(program, *arguments(None), parties=parties, suite=suite)
    with mk.simulate(parties, insecure_seed=11, record=True, suite=suite) as session, torch.no_grad():
        expected = program(*arguments(None))
    with cluster(parties) as team:
        results = team.wired(on_an_engine, [(list(planned.draws), suite)] * parties)

    assert torch.equal(results[0][0], expected)
    for party, (_, said, report) in enumerate(results):
        assert (
            len(said) == (parties - 1) * (report.rounds("setup") + report.rounds())
            and sum(len(payload) for *_, payload in said) > 10_000
        )
        assert said == [message for message in session.transcript if message[0] == party]
        # plan = run, and one bill for all: headers and all
        for phase in ("setup", "online"):
            assert report.rounds(phase) == planned.report.rounds(phase) == session.report().rounds(phase)
        assert not report.unplanned
    for phase in ("setup", "online"):
        assert max(r.sent(phase) for *_, r in results) == planned.report.sent(phase) == session.report().sent(phase)
    assert results[-1][2].offline_bytes == planned.report.offline_bytes
    assert {report.key_bytes for *_, report in results} == {planned.report.key_bytes} == {session.report().key_bytes}
    assert (planned.report.key_bytes > 0) == (suite == "fss")
    for *_, report in results[:-1]:  # only the last party is sent corrections, but both those of keys
        assert (report.offline_bytes > 0) == (suite == "fss")


def test_other_seeds_say_other_bytes():
    said = []
    for seed in (1, 2):
        with mk.simulate(2, insecure_seed=seed, record=True) as session:
            program(*arguments(None))
        said.append(b"".join(payload for *_, payload in session.transcript))
    assert len(said[0]) == len(said[1]) and said[0] != said[1]
