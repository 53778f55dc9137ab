"""`team.run`: one program on all parties, planned on shapes, with its dealer, its bill and its events."""

import time

import pytest
import torch
from torch import nn

import mpckit as mk
from mpckit.engines.team import PartyError, TeamError, cluster, only


@pytest.fixture(scope="module", params=[2, 3])
def team(request):
    with cluster(parties=request.param, link=mk.WAN) as team:
        yield team


def product(x, y):
    a, b = mk.secret(x, owner=0), mk.secret(y, owner=1)
    print("about to multiply")
    return (a * b).reveal(to=0)


def test_two_secrets_are_multiplied(team, capsys):
    """Each owner alone has its number, and party 0 alone learns the product."""
    x, y = torch.tensor([1.5, -2.0]), torch.tensor([4.0, 0.25])
    (value, *others), report = team.run(product, only(0, x), only(1, y))
    assert capsys.readouterr().out.splitlines() == [f"party {p} │ about to multiply" for p in range(team.parties)]
    assert torch.allclose(value, x * y, atol=1e-3)
    assert all(other.is_meta for other in others)
    assert report.rounds() == mk.plan(product, x, y, parties=team.parties).report.rounds()
    assert not report.unplanned and report.wall["total"] > report.wall["online"] > 0 and report.link == mk.WAN


def test_seconds_on_the_bill_are_all_that_a_party_spends(team):
    """What it does between protocols is compute, too; and a party's exchanges have their software's price."""

    def program(x):
        secret = mk.secret(x, owner=0)
        if not x.is_meta or mk.Session.current().wire is not None:
            time.sleep(0.05)  # stands for what torch and Python do between two protocols
        return (secret * secret).reveal()

    _, report = team.run(program, only(0, torch.ones(3)))
    assert 0.05 <= report.compute() < report.wall["online"] + 0.05
    assert 0 < report.exchange < 0.05
    assert report.seconds() == pytest.approx(
        mk.WAN.seconds(report.rounds(), report.sent(), report.compute()) + report.rounds() * report.exchange
    )


def test_weights_of_which_only_what_is_public_is_kept(team):
    """The same answers, from the rounds that were planned; on a machine without a GPU the error says so."""

    def infer(x, model):
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal()

    torch.manual_seed(0)
    x, model = torch.linspace(-1, 1, 12).reshape(2, 6), nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    values, report = team.run(infer, only(0, x), only(1, model), weight_memory=0)
    planned = mk.plan(infer, x, model, parties=team.parties, weight_memory=0).report
    assert all(torch.allclose(value, model(x), atol=1e-3) for value in values)
    assert [report.rounds(p) for p in ("setup", "online")] == [planned.rounds(p) for p in ("setup", "online")]
    assert report.sent() == planned.sent() and not report.unplanned
    if not torch.cuda.is_available():
        with pytest.raises(PartyError, match="device='cuda': torch .* sees no GPU here"):
            team.run(infer, only(0, x), only(1, model), device="cuda")


def test_where_no_gradients_are_kept_the_engines_keep_none(team):
    """A norm is one protocol then, and planned as such."""

    def infer(x, model):
        return mk.private(model, owner=1)(mk.secret(x, owner=0)).reveal()

    x, model = torch.randn(2, 6), nn.LayerNorm(6)
    with torch.no_grad():
        values, report = team.run(infer, only(0, x), only(1, model))
    _, with_gradients = team.run(infer, only(0, x), only(1, model))
    assert torch.allclose(values[0], model(x), atol=2e-3)
    assert report.unplanned == with_gradients.unplanned == {} and report.rounds() < with_gradients.rounds()


def test_the_bill_is_that_of_the_simulator(team):
    """Same rounds, same bytes, line by line."""
    x, y = torch.ones(3, 4), torch.ones(3, 4)
    _, report = team.run(product, only(0, x), only(1, y))
    with mk.simulate(team.parties) as session:
        product(x, y)
    alone = session.report()
    assert [(r.path, r.rounds, r.sent) for r in report.lines] == [(r.path, r.rounds, r.sent) for r in alone.lines]
    assert report.offline_bytes == alone.offline_bytes


def test_a_model_of_one_for_the_data_of_another(team):
    def infer(image, model):
        return mk.private(model, owner=1)(mk.secret(image, owner=0)).reveal()

    torch.manual_seed(0)
    model, image = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), torch.randn(5, 4)
    values, _ = team.run(infer, only(0, image), only(1, model))
    for value in values:
        assert torch.allclose(value, model(image), atol=1e-2)


def test_events_tell_how_far_it_is(team):
    team.run(product, only(0, torch.ones(1000)), only(1, torch.ones(1000)))
    events = list(team.events.events)
    assert {e["party"] for e in events} == set(range(team.parties))
    offline = [e for e in events if e["phase"] == "offline" and e["party"] == team.parties - 1]
    assert offline[-1]["done"] == offline[-1]["total"] > 0
    assert max(e.get("rounds", 0) for e in events) > 0 and not team.events.errors


def test_a_program_that_fails(team):
    """The planner runs it on shapes first, so only what depends on values can fail on the engines."""

    def program(x):
        if not x.is_meta and x.sum() > 2:
            raise ValueError("too much")
        return mk.secret(x, owner=0).reveal()

    with pytest.raises(PartyError, match="party 0 failed: ValueError: too much"):
        team.run(program, only(0, torch.ones(3)))
    values, _ = team.run(program, only(0, torch.ones(1)))
    assert [v.item() for v in values] == [1.0] * team.parties


def test_an_owner_that_does_not_exist(team):
    with pytest.raises(ValueError, match=f"this team has parties 0 to {team.parties - 1}"):
        team.run(product, only(0, torch.ones(1)), only(9, torch.ones(1)))


def too_large(x):
    return mk.secret(x, owner=0).reveal()


def test_what_does_not_fit_is_told_its_owner_and_not_the_others():
    with mk.cluster(2) as team:
        with pytest.raises(PartyError, match=r"party 0 failed: RangeError: 1\.23.*e\+17") as caught:
            team.run(too_large, mk.only(0, torch.tensor([1.0, 1.2345e17])))
        assert team.spmd(lambda: 1) == [1, 1]
    assert caught.value.party == 0  # the notebook hears it from party 0; `test_wire.py` sees what party 1 hears


@pytest.mark.parametrize("option", ["parties", "dealer", "wire", "here", "meta"])
def test_what_the_team_decides_is_no_option_of_a_run(team, option):
    with pytest.raises(ValueError, match=rf"{option}= is the team's to say, which has {team.parties} parties"):
        team.run(product, torch.ones(1), torch.ones(1), **{option: 2})


def test_a_team_without_a_dealer_runs_no_program():
    with mk.cluster(2, dealer=False) as team, pytest.raises(TeamError, match="no dealer"):
        team.run(too_large, mk.only(0, torch.ones(1)))
