"""Rooms: a persistent mask whose places are filled one after another, each with one value.

keys = fill(newest, room)        # all so far; only the newest is opened
"""

import pytest
import torch
from desk import PARTIES, Desk
from watching import watched

from mpckit.once import ReuseError
from mpckit.protocols import arithmetic

VALUES = torch.randint(-(1 << 40), 1 << 40, (2, 5, 3))
FACTOR = torch.randint(-(1 << 20), 1 << 20, (2, 3, 4))


def room(desk, shape=(2, 5, 3), dim=1):
    return desk.run(arithmetic.room, desk.masks(1)[0], shape, dim)


@pytest.mark.parametrize("parties", PARTIES)
def test_what_is_in_a_room_multiplies_as_what_is_fixed(parties):
    """Turned, in part, and again after more has come: what was given out before does not change."""
    desk = Desk(parties, 64)
    here, w, given = room(desk), desk.fix(desk.secret(FACTOR))[0], []
    for start, end in ((0, 2), (2, 3), (3, 5)):
        given.append(desk.run(arithmetic.fill, desk.secret(VALUES[:, start:end]), here))
        for x, count in zip(given, (2, 3, 5)):
            before = desk.meter.total().sent
            turned = x.map(torch.ops.aten.transpose.int, 1, 2)
            products = [desk.run(arithmetic.matmul, *pair) for pair in ((x, w), (x, turned))]
            assert desk.meter.total().sent == before, "nothing is opened again"
            assert torch.equal(desk.open(x), VALUES[:, :count])
            assert torch.equal(desk.open(products[0]), VALUES[:, :count] @ FACTOR)
            assert torch.equal(desk.open(products[1]), VALUES[:, :count] @ VALUES[:, :count].mT)


def test_every_place_is_opened_once_and_under_a_mask_of_its_own():
    """What is opened plus the mask is the value, for the room as a whole: no place of the mask is there twice."""
    desk, seen = Desk(2, 64), []
    here = room(desk)
    for part in VALUES.split([1, 3, 1], 1):
        desk.run(watched(arithmetic.fill, seen), desk.secret(part), here)
    mask = sum(r.mask.data for r in here.shares)
    assert mask.unique().numel() == mask.numel()
    assert torch.equal(torch.cat(seen[::2], 1) + mask, VALUES)


def test_a_room_that_is_full_takes_nothing_and_opens_nothing():
    desk = Desk(2, 64)
    here = room(desk)
    desk.run(arithmetic.fill, desk.secret(VALUES[:, :4]), here)
    for _ in range(2):
        x, step = desk.secret(VALUES[:, :2]), desk.meter.step
        with pytest.raises(ReuseError, match="has 5 places along dimension 1; 4 are taken"):
            desk.run(arithmetic.fill, x, here)
        assert desk.meter.step == step
    whole = desk.run(arithmetic.fill, desk.secret(VALUES[:, 4:]), here)
    assert torch.equal(desk.open(whole), VALUES)


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 1, 3), (2, 1, 1), (1, 3), (3,), (1, 2, 1, 3)], ids=str)
def test_values_of_another_shape_are_refused_before_they_are_opened(shape):
    """Broadcast, one place of the mask would hide two values, and their difference would be public."""
    desk = Desk(2, 64)
    here = room(desk, (1, 5, 3) if shape[0] == 4 else (2, 5, 3))
    x, step = desk.secret(torch.ones(shape, dtype=torch.int64)), desk.meter.step
    with pytest.raises(ValueError, match="do not fit a room"):
        desk.run(arithmetic.fill, x, here)
    assert desk.meter.step == step and {r.used for r in here.shares} == {0}


def test_a_room_that_was_left_while_it_was_filled_is_closed(monkeypatch):
    """The places are struck off and hold nothing: they would stand for the mask itself."""
    desk = Desk(2, 64)
    here = room(desk)
    desk.run(arithmetic.fill, desk.secret(VALUES[:, :1]), here)
    x = desk.secret(VALUES[:, 1:2])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(desk, "_speak", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        desk.run(arithmetic.fill, x, here)
    with pytest.raises(ReuseError, match="taken and not filled, since a run ended there"):
        desk.run(arithmetic.fill, x, here)
