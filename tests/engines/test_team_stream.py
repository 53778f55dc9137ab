"""`team.stream`: what a program tells is in the notebook while the program still runs."""

import time

import pytest
import torch

import mpckit as mk
from mpckit.engines.team import PartyError, cluster, only
from mpckit.zoo.language import GPT


@pytest.fixture(scope="module")
def team():
    with cluster(parties=2) as team:
        yield team


def count(n, pause):
    for i in range(n):
        mk.tell(mk.secret(torch.tensor([i]), owner=0).reveal(to=0))
        time.sleep(pause)
    return n


def test_words_arrive_one_by_one_and_then_the_report(team):
    """Party 0 alone learns each number, so it alone tells them; a shape (party 1's) says nothing."""
    arrived = []
    for word in (stream := team.stream(count, 3, 0.4)):
        arrived.append((word, time.monotonic()))
    assert [word for word, _ in arrived] == [[0], [1], [2]]
    assert arrived[-1][1] - arrived[0][1] > 0.4, "they did not all come at the end"
    assert stream.values == [3, 3] and stream.report.rounds() == team.run(count, 3, 0.0)[1].rounds()


def test_a_loop_that_is_left_ends_the_run(team):
    for word in team.stream(count, 30, 1.0):
        assert word == [0]
        left = time.monotonic()
        break
    assert time.monotonic() - left < 15, "half of what was to come"
    assert team.run(count, 1, 0.0)[0] == [1, 1], "and the team is free"


def test_a_failure_is_named_after_what_was_told(team):
    def fails(x):
        mk.tell("so far")
        if not x.is_meta:  # not in the plan
            time.sleep(0.5)
            raise RuntimeError("no further")

    heard = []
    with pytest.raises(PartyError, match="no further"):
        for word in team.stream(fails, only(0, torch.ones(1))):
            heard.append(word)
    assert "so far" in heard


def test_a_secret_is_not_told(team):
    with pytest.raises(mk.SecretError, match="reveal"):
        team.run(lambda x: mk.tell(mk.secret(x, owner=0)), torch.ones(2))


def test_nobody_listens_in_the_simulator():
    with mk.simulate():
        mk.tell("hello")


def test_text_is_written_on_engines(team):
    """Its author has the weights, the client the prompt; the words reach the client alone."""
    torch.manual_seed(0)
    model, prompt = GPT(tokens=20, length=12, layers=1, width=16, heads=2).eval(), torch.tensor([[3, 1, 4]])
    want = torch.stack(list(mk.generate(model, prompt, 3)), 1)

    def write(model, prompt):
        words = []
        for word in mk.generate(mk.private(model, owner=1), prompt, 3):
            mk.tell(word)
            words.append(word)
        return torch.stack(words, 1)

    stream = team.stream(write, only(1, model), only(0, prompt))
    assert [word for [word] in stream] == want[0].tolist()
    client, author = stream.values
    assert torch.equal(client, want) and author.is_meta and not stream.report.unplanned
