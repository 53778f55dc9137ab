"""Dealing once, read three ways: the dealer sees all pieces, a party its own, the planner the shapes.

triple = Triple(Bilinear("mul"), (4,), (4,))
triple.deal(Dealing(seeds, serial=7))                # a, b and c = a·b, with all pieces
triple.deal(Expanding(0, 2, seeds[0], serial=7))     # the same pieces of party 0, from its seed alone
"""

import dataclasses
import json

import pytest
import torch

from mpckit import correlations, kernels
from mpckit.correlations import (
    Bilinear,
    BitTriple,
    Compare,
    Correlation,
    DaBit,
    Equal,
    Mask,
    Masked,
    Node,
    Select,
    Square,
    Table,
    Triple,
    TruncPair,
    View,
    WordBits,
)
from mpckit.kernels import tree
from mpckit.offline.dealer import (
    Dealing,
    Expanding,
    MetaDealing,
    correction_bytes,
    from_json,
    pack_corrections,
    to_json,
)
from mpckit.offline.source import DealerService, LocalDealer, RemoteDealer
from mpckit.offline.store import ReuseError
from mpckit.stream import derive

MUL, MATMUL, CONV = Bilinear("mul"), Bilinear("matmul"), Bilinear("conv", ((1, 2), (1, 0), (1, 1), 2))
ROTATED = View(3, (2, 3), (("t.default", ()), ("unsqueeze.default", (0,)), ("expand.default", ((4, 3, 2),))))
EXAMPLES = {
    Triple: [
        Triple(MUL, (4,), (3, 1)),
        Triple(MATMUL, (2, 3), (3, 4)),
        Triple(CONV, (2, 4, 5, 5), (6, 2, 3, 3)),
        Triple(MUL, (), (0,)),
        Triple(MUL, (4, 3, 2), ROTATED),
        Triple(MATMUL, View(1, (2, 3)), (3, 4)),
        Triple(MUL, View(1, (2, 3)), View(2, (2, 3))),
    ],
    Square: [Square(()), Square((0,)), Square((3, 5))],
    Mask: [Mask(0, (3,)), Mask(7, ())],
    TruncPair: [TruncPair((5,), 64, 16), TruncPair((70,), 8, 3, True), TruncPair((), 40, 20, True)],
    BitTriple: [BitTriple((5,), (5,)), BitTriple((1, 4), (2, 4)), BitTriple((0,), (0,))],
    Node: [Node(radix, want, (3, 2)) for radix in (2, 3, 4) for want in tree.WANT],
    DaBit: [DaBit((70,)), DaBit(())],
    WordBits: [WordBits((5,), 64), WordBits((2, 3), 8)],
    Masked: [Masked((5,), 64), Masked((5,), 8)],
    Compare: [Compare((70,), 64), Compare((3, 5), 8, True), Compare((), 40, True), Compare((0,), 8)],
    Equal: [Equal((70,), 64), Equal((), 8)],
    Select: [Select((5,), (5,)), Select((3, 1), (3, 4)), Select((), (2,))],
    Table: [Table((5,), 64, 0, 4), Table((5,), 64, 10, 9), Table((2, 3), 8, 2, 6), Table((), 8, 0, 0)],
}
EVERY = [c for examples in EXAMPLES.values() for c in examples]
PARTIES = (2, 3, 4)


def seeds(n):
    return {p: derive(bytes(32), f"party/{p}") for p in range(n)}


def kinds():
    return {
        k
        for k in vars(correlations).values()
        if isinstance(k, type) and issubclass(k, Correlation) and k is not Correlation
    }


def same(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


def test_the_example():
    triple = Triple(MUL, (4,), (4,))
    a, b, c = triple.deal(Dealing(seeds(2), 7))
    assert torch.equal(c.value, a.value * b.value) and torch.equal(sum(c.pieces), c.value)
    mine = triple.deal(Expanding(0, 2, seeds(2)[0], 7))
    assert all(torch.equal(own.pieces[0], dealt.pieces[0]) and own.value.is_meta for own, dealt in zip(mine, (a, b, c)))


def test_every_correlation_has_examples_and_is_plain_data():
    assert set(EXAMPLES) == kinds(), "write examples for every correlation"
    for kind in kinds():
        assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen and kind.__subclasses__() == []
    assert all(isinstance(example, kind) for kind, examples in EXAMPLES.items() for example in examples)


# ---- one text, three readings --------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("correlation", EVERY, ids=repr)
def test_each_party_expands_what_the_dealer_dealt(correlation, n):
    dealing = Dealing(seeds(n), 5)
    dealt = correlation.deal(dealing)
    received = pack_corrections(dealing.corrections)
    assert received.numel() == correction_bytes(dealing.corrections)
    for party in range(n):
        reading = Expanding(party, n, seeds(n)[party], 5, received if party == n - 1 else None)
        own = correlation.deal(reading)
        assert len(own) == len(dealt) and all(h.value.is_meta for h in own)
        assert all(
            same(mine.pieces[0], theirs.pieces[party]) and mine.xor == theirs.xor for mine, theirs in zip(own, dealt)
        )
        if party == n - 1:
            assert reading.at == received.numel(), "the last party used all it received"


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("correlation", EVERY, ids=repr)
def test_pieces_join_to_the_value_and_serials_name_other_ones(correlation, n):
    first, again, other = (correlation.deal(Dealing(seeds(n), serial)) for serial in (5, 5, 6))
    for h, same_h, other_h in zip(first, again, other):
        total = h.pieces[0]
        for piece in h.pieces[1:]:
            total = total ^ piece if h.xor else total + piece
        assert same(total, h.value) and same(h.value, same_h.value)
        if h.value.numel() and h.pieces[0].dtype == torch.int64 and not isinstance(correlation, Mask):
            assert not torch.equal(h.pieces[0], other_h.pieces[0])


@pytest.mark.parametrize("correlation", EVERY, ids=repr)
def test_the_planner_sees_the_shapes_and_the_bytes(correlation):
    real, meta = Dealing(seeds(3), 5), MetaDealing(seeds(3), 5)
    dealt, planned = correlation.deal(real), correlation.deal(meta)
    for h, m in zip(dealt, planned, strict=True):
        assert all(p.is_meta for p in m.pieces) and m.value.is_meta and h.xor == m.xor
        assert [(p.shape, p.dtype) for p in h.pieces] == [(p.shape, p.dtype) for p in m.pieces]
    assert correction_bytes(real.corrections) == correction_bytes(meta.corrections)


@pytest.mark.parametrize("correlation", [c for c in EVERY if not isinstance(c, Mask)], ids=repr)
def test_nothing_travels_for_uniform_secrets_and_corrections_are_noise(correlation):
    """The correction is the value minus what others expand: under other seeds of party 0 it is another one."""
    dealing = Dealing(seeds(2), 5)
    correlation.deal(dealing)
    stranger = Dealing({0: bytes(31) + b"\1", 1: seeds(2)[1]}, 5)
    correlation.deal(stranger)
    ours, theirs = pack_corrections(dealing.corrections), pack_corrections(stranger.corrections)
    assert len(ours) == len(theirs)
    if len(ours) >= 16:
        assert (ours != theirs).double().mean() > 0.5


# ---- what the pieces mean ------------------------------------------------------------------------


def values(correlation, serial=5):
    return [h.value for h in correlation.deal(Dealing(seeds(3), serial))]


def test_products():
    for op, x, y in ((MUL, (4, 1), (5,)), (MATMUL, (2, 3), (3, 4)), (CONV, (2, 4, 5, 5), (6, 2, 3, 3))):
        a, b, c = values(Triple(op, x, y))
        assert torch.equal(c, op(a, b))
    a, c = values(Square((70,)))
    assert torch.equal(c, a * a)
    a, b, c = values(BitTriple((1, 4), (2, 4)))
    assert torch.equal(c, a & b)
    for radix in (2, 3, 4):
        a, products = values(Node(radix, "gp", (5,)))
        for row, subset in zip(products, tree.mask_products(radix, "gp"), strict=True):
            expected = torch.full((5,), -1)
            for i in subset:
                expected &= a[i]
            assert torch.equal(row, expected)


def test_a_persistent_mask_is_the_same_at_every_call_and_in_every_view():
    (b,), (again,) = values(Mask(3, (2, 3)), 5), values(Mask(3, (2, 3)), 6)
    assert torch.equal(b, again) and not torch.equal(b, values(Mask(4, (2, 3)))[0])
    a, c = values(Triple(MUL, (4, 3, 2), ROTATED))
    assert torch.equal(c, a * b.T.unsqueeze(0))
    c = values(Triple(MATMUL, View(3, (2, 3)), View(3, (2, 3), (("t.default", ()),))))[0]
    assert torch.equal(c, b @ b.T)


def test_digits_of_masks():
    for bits in (8, 40, 64):
        r, tables, top = values(Compare((100,), bits))
        low = r & ((1 << (bits - 1)) - 1)
        for digit, table in enumerate(tables):
            hot = kernels.from_planes(table, 100)
            assert torch.equal(hot, 1 << ((low >> (4 * digit)) & 15))
        assert torch.equal(top, ((r >> (bits - 1)) & 1).bool())
        r, r_bits = values(Masked((100,), bits))
        assert torch.equal(r_bits, r if bits == 64 else r & ((1 << bits) - 1))


def test_choosers_and_random_bits():
    r, s, s_sum, rs = values(Select((70,), (70,)))
    assert torch.equal(s.long(), s_sum) and torch.equal(rs, r * s_sum) and s.any() and not s.all()
    s, s_sum = values(DaBit((70,)))
    assert torch.equal(s.long(), s_sum)
    m, m_bits = values(WordBits((5,), 64))
    assert torch.equal((m_bits << torch.arange(64)).sum(-1), m)


def test_tables_of_masks():
    r, hot, high, wrap = values(Table((50,), 16, 4, 7))
    low = r & 0xFFFF
    assert torch.equal(high, low >> 4) and torch.equal(wrap, (low >> 15) << 12)
    index = (low >> 4) & 127
    assert torch.equal(
        torch.stack([(h[i >> 6] >> (i & 63)) & 1 for h, i in zip(hot, index)]), torch.ones(50, dtype=torch.int64)
    )


# ---- correlations as text ------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", EVERY, ids=repr)
def test_text_and_back(correlation):
    text = to_json(correlation)
    back = from_json(text)
    assert back == correlation and hash(back) == hash(correlation) and type(back) is type(correlation)
    assert to_json(back) == text and json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "5",
        "null",
        "[]",
        '"Square"',
        "{}",
        '{"type": "Correlation"}',
        '{"type": "os.system"}',
        '{"type": ["Square"]}',
        '{"shape": [3]}',
        '{"type": "Square"}',
        '{"type": "Square", "shape": [3], "more": 1}',
        '{"type": "Square", "size": [3]}',
        '[{"type": "Square", "shape": [3]}]',
        '{"type": "Bilinear", "kind": "mul", "args": []}',
        '{"type": "View", "number": 1, "shape": [2]}',
        '{"type": "ABC"}',
        '{"type": "lsr"}',
        '{"type": "Triple", "op": {"type": "eval"}, "x": [1], "y": [1]}',
        '{"type": "Triple", "op": {"type": "Bilinear", "kind": "load"}, "x": [1], "y": [1]}',
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):
        from_json(text)


# ---- the dealer's engine -------------------------------------------------------------------------


class Line:
    """A party's line to a dealer in the same process."""

    def __init__(self, service, party):
        self.service, self.party, self.asked = service, party, []

    def request(self, kind, obj):
        self.asked.append(kind)
        return self.service(self.party, kind, obj)


@pytest.mark.parametrize("n", PARTIES)
def test_a_dealer_elsewhere_deals_the_same_as_one_here(n):
    service, here = DealerService(n), LocalDealer(seeds(n))
    lines = [Line(service, p) for p in range(n)]
    parties = [RemoteDealer(p, n, seeds(n)[p], lines[p]) for p in range(n)]
    for serial, correlation in enumerate(EVERY):
        expected = here.deal(serial, correlation)
        for p, dealer in enumerate(parties):
            (pieces,) = dealer.deal(serial, correlation)
            for mine, theirs in zip(pieces, expected[p], strict=True):
                assert type(mine) is type(theirs) and mine.party == theirs.party == p and same(mine.data, theirs.data)
    assert [line.asked.count("deal") for line in lines] == [0] * (n - 1) + [len(EVERY)], "only the last party asks"
    assert parties[-1].sent == here.sent and all(p.sent == 0 for p in parties[:-1])


def test_a_dealer_answers_only_what_a_party_may_ask():
    service = DealerService(2)
    for party in (0, 1):
        service(party, "seed", {"seed": seeds(2)[party].hex()})
    request = {"serial": 0, "correlation": to_json(Square((3,)))}
    for party, kind, asked in (
        (0, "deal", request),
        (1, "seed", {"seed": "00"}),
        (1, "pieces", request),
        (0, "seeds", {}),
    ):
        with pytest.raises(ValueError, match=f"party {party} asked its dealer for '{kind}'"):
            service(party, kind, asked)
    with pytest.raises(ValueError, match="not a correlation"):
        service(1, "deal", {"serial": 0, "correlation": "{}"})


def test_a_dealer_deals_each_draw_once():
    """Corrections of two correlations under one serial would stand under the same masks."""
    service = DealerService(2)
    for party in (0, 1):
        service(party, "seed", {"seed": seeds(2)[party].hex()})
    service(1, "deal", {"serial": 4, "correlation": to_json(Square((3,)))})
    for serial in (4, 3):
        with pytest.raises(ReuseError, match=f"draw {serial} has been dealt already"):
            service(1, "deal", {"serial": serial, "correlation": to_json(DaBit((3,)))})
    service(1, "deal", {"serial": 5, "correlation": to_json(DaBit((3,)))})
