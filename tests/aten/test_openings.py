"""All that a program opens is fresh noise: no sum of opened words is the same in every run.

Lowest bits of words modulo 2^w add up without carries. So a program is run more often than it opens words, on the same
secrets with new randomness, and Gaussian elimination over those bits finds any sum of them that never changes: one word
that hides nothing, two under one mask, or three of which the third has the sum of the others' masks.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mpckit as mk
from mpckit.ask import Open
from mpckit.generate import Cache
from mpckit.runtime import round as rounds

torch.manual_seed(0)
A, B, C = torch.randn(2, 3), torch.randn(3, 2), torch.randn(2, 2)
PICTURE, FILTER = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 2, 2)


def take(*results):
    for x in results:
        x.shared  # noqa: B018  (what waits is paid for)


def waiting(a, b, c):
    y = a @ b
    take(y.relu(), y.t().relu(), (y + c).relu(), y.t() + 1, y, (y + y).relu())


def masked(a, b, c):
    """One factor in many products: turned, in part, flattened, with itself, and written into in between."""
    take(a @ b, b.t() @ a.t(), a[:, :2] @ b[:2], a @ a.t(), a.view(6) * b.view(6), a.as_strided((2, 2), (3, 1)) @ c)
    a.mul_(2)
    take(a @ b, a * a)
    b.copy_(a.t())
    take(a @ b)


def trained(a, b, c):
    w = b.requires_grad_()
    optimizer = torch.optim.SGD([w], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (a @ w).relu().sum().backward()
        optimizer.step()


def looked_up(a, b, c):
    for ids in ([1, 2], [1], [0]):
        take(F.embedding(mk.secret(torch.tensor(ids), owner=0), b))


def cached(a, b, c):
    cache = Cache(4)
    for new in (a, a[:1], a[:1]):
        keys, values = cache.update(*(new.view(1, 1, -1, 3) for _ in range(2)), 0)
        take(keys[:, :, -1:] @ keys.mT @ values)


def pictured(a, b, c):
    x, w = mk.secret(PICTURE, owner=0), mk.secret(FILTER, owner=1)
    y = F.conv2d(x, w)
    take(F.max_pool2d(y, 2).relu(), F.avg_pool2d(y, 2).relu(), y, y.relu())
    x.requires_grad_(), w.requires_grad_()
    F.conv2d(x, w, padding=1, stride=2).sum().backward()
    take(x.grad, w.grad)


def normed(a, b, c):
    with torch.no_grad():
        take(mk.private(nn.LayerNorm(2), owner=1)(c[:1]))


def opened(program, **options) -> list[int]:
    """The lowest bits of all opened words, packed words of bits among them, in one run."""
    bits, joined = [], rounds.joined

    def watched(asks, here):
        out = joined(asks, here)
        for item, answer in zip(rounds.items(asks[0]), out[0]):
            if isinstance(item, Open) and item.to is None:
                for value in answer if isinstance(answer, tuple) else (answer,):
                    bits.extend((value.reshape(-1).long() & 1).tolist())
        return out

    with mk.simulate(**options), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "joined", watched)
        program(mk.secret(A, owner=0), mk.secret(B, owner=1), mk.secret(C, owner=0))
    return bits


def dependent(program, **options) -> list[int]:
    """Which of the opened bits follow from those before them, in all of more runs than there are bits."""
    count = len(opened(program, **options))
    assert count > 3
    columns = [0] * count
    for run in range(count + 64):  # by chance one in 2^64
        for i, bit in enumerate(opened(program, **options)):
            columns[i] |= bit << run
    basis, found = {}, []
    for i, column in enumerate([(1 << count + 64) - 1, *columns]):  # a bit that is always 1 follows as well
        while column and (pivot := column.bit_length()) in basis:
            column ^= basis[pivot]
        if column:
            basis[pivot] = column
        else:
            found.append(i - 1)
    return found


@pytest.mark.parametrize(
    ("program", "options"),
    [
        *((program, {"suite": "fss"}) for program in (waiting, masked, trained, looked_up, cached, pictured, normed)),
        *((program, {"parties": 3}) for program in (waiting, masked, looked_up)),
        (waiting, {"truncation": "exact"}),
        (waiting, {"suite": "fss", "key_memory": 0}),
    ],
    ids=lambda v: v.__name__ if callable(v) else " ".join(map(str, v.values())),
)
def test_no_sum_of_opened_words_says_anything(program, options):
    assert dependent(program, **options) == []


# ---- and the test is seen to fail ----------------------------------------------------------------


def test_a_mask_that_hides_two_values_is_noticed(monkeypatch):
    monkeypatch.setattr(mk.Session, "masks", lambda self, count: range(7, 7 + count))
    monkeypatch.setattr("mpckit.offline.store.Store.bind", lambda self, number: None)
    assert dependent(masked, suite="fss")


def test_a_place_that_hides_two_values_is_noticed(monkeypatch):
    monkeypatch.setattr("mpckit.protocols.arithmetic.Room.take", lambda self, shape: 0)
    assert dependent(cached, suite="fss")


def test_randomness_of_one_name_is_noticed(monkeypatch):
    """As if draws had no number: two of a kind would be dealt alike."""
    monkeypatch.setattr("mpckit.offline.source.stream_name", lambda serial, part, correlation: repr(correlation))
    assert dependent(waiting, suite="fss")
