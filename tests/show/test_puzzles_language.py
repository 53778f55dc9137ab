"""The puzzles of notebook 12: answers that are right but dear, indiscreet, or wrong are told apart."""

import torch
from verdicts import last, verdict

# a row of a table


def test_a_look_up_by_secret_number_is_praised(capsys):
    def embed(ids, table):
        return torch.nn.functional.embedding(ids, table)

    lines = verdict(capsys, embed)
    assert [line[0] for line in lines[:-1]] == ["✓"] * 3 and lines[-1] == "embed is solved"


def test_a_look_up_by_comparing_is_too_dear(capsys):
    def embed(ids, table):
        return (ids[:, None] - torch.arange(len(table)) == 0).float() @ table

    assert last(capsys, embed).startswith("✗ bill     ")


def test_a_look_up_that_opens_the_ids_is_noticed(capsys):
    def embed(ids, table):
        return table[ids.reveal()]

    assert last(capsys, embed) == "✗ private  it reveals a secret; give a secret back"


def test_other_rows_are_noticed(capsys):
    def embed(ids, table):
        return torch.nn.functional.embedding(ids, table.flip(0))

    assert last(capsys, embed).startswith("✗ right    off by ")


def test_one_row_for_all_is_noticed(capsys):
    def embed(ids, table):
        return torch.nn.functional.embedding(ids[:1], table)

    assert last(capsys, embed) == "✗ right    rows [5, 8] are wanted, not [1, 8]"


# the best of those that are allowed


def test_a_penalty_is_praised(capsys):
    def choose(logits, allowed):
        penalty = torch.full((logits.shape[-1],), -500.0)
        penalty[allowed] = 0
        return (logits + penalty).argmax(-1)

    lines = verdict(capsys, choose)
    assert [line[0] for line in lines[:-1]] == ["✓"] * 3 and lines[-1] == "choose is solved"


def test_the_best_of_all_is_noticed(capsys):
    def choose(logits, allowed):
        return logits.argmax(-1)

    assert last(capsys, choose).startswith("✗ right    ids [")


def test_a_place_is_no_id(capsys):
    def choose(logits, allowed):
        return logits[:, allowed].argmax(-1)

    assert last(capsys, choose).startswith("✗ right    ids [")


def test_revealed_scores_are_noticed(capsys):
    def choose(logits, allowed):
        return allowed[logits.reveal()[:, allowed].argmax(-1)]

    assert last(capsys, choose) == "✗ private  it reveals a secret; give a secret back"


def test_nothing_is_no_answer(capsys):
    def choose(logits, allowed): ...

    assert last(capsys, choose) == "✗ right    return a secret tensor, not NoneType"
