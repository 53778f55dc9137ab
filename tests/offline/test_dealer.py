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
    Cut,
    DaBit,
    EdaBits,
    Equal,
    Lines,
    Mask,
    Node,
    Ramp,
    Reduce,
    Select,
    SignedTable,
    Square,
    SquareTriple,
    Table,
    Triple,
    TruncPair,
    TruncRelu,
    View,
    WordBits,
    Wrap,
)
from mpckit.correlations.masked import CHUNK
from mpckit.fss import Keys, dpf
from mpckit.fss.batch import joined
from mpckit.kernels import tree
from mpckit.offline import service as service_module
from mpckit.offline.dealer import (
    Dealing,
    Expanding,
    MetaDealing,
    correction_bytes,
    from_json,
    pack_corrections,
    tensors_of,
    to_json,
)
from mpckit.offline.service import DealerService
from mpckit.offline.source import LocalDealer, Planner, RemoteDealer, stream_name
from mpckit.once import ReuseError
from mpckit.share import AShare, BShare
from mpckit.stream import derive

MUL, MATMUL, CONV = Bilinear("mul"), Bilinear("matmul"), Bilinear("conv", ((1, 2), (1, 0), (1, 1), 2))
ROTATED = View(3, (2, 3), (("t.default", ()), ("unsqueeze.default", (0,)), ("expand.default", ((4, 3, 2),))))
EXAMPLES = {
    Triple: [
        Triple(MUL, (4,), (3, 1)),
        Triple(MATMUL, (2, 3), (3, 4)),
        Triple(CONV, (2, 4, 5, 5), (6, 2, 3, 3)),
        Triple(MUL, (), (0,)),
        Triple(Bilinear("rows", (1, 0, 3)), (2, 4), (2, 3)),
        Triple(Bilinear("ragged", (1, 2, 3)), (2, 6), (2, 4, 5)),
        Triple(MUL, (4, 3, 2), ROTATED),
        Triple(MATMUL, View(1, (2, 3)), (3, 4)),
        Triple(MUL, View(1, (2, 3)), View(2, (2, 3))),
    ],
    SquareTriple: [SquareTriple((3, 4), (4,)), SquareTriple((3, 2), View(3, (3, 2)))],
    Square: [Square(()), Square((0,)), Square((3, 5))],
    Mask: [Mask(0, (3,)), Mask(7, ())],
    TruncRelu: [
        TruncRelu((5,), 64, 16, 48),
        TruncRelu((70,), 8, 3, 4, True),
        TruncRelu((), 40, 20, 20, True),
        TruncRelu((70,), 64, 16, 48, True, "dpf"),
    ],
    TruncPair: [
        TruncPair((5,), 64, 16),
        TruncPair((70,), 8, 3, True),
        TruncPair((), 40, 20, True),
        TruncPair((70,), 64, 16, True, "dpf"),
    ],
    Reduce: [Reduce((70,), 64, 16), Reduce((5,), 40, 16, "dpf"), Reduce((3, 2), 40, 5, "dpf")],
    Wrap: [Wrap((70,), 8), Wrap((5,), 40, "dpf"), Wrap((5,), 7, "dpf")],
    BitTriple: [BitTriple((5,), (5,)), BitTriple((1, 4), (2, 4)), BitTriple((0,), (0,))],
    Node: [Node(radix, want, (3, 2)) for radix in (2, 3, 4) for want in tree.WANT],
    DaBit: [DaBit((70,)), DaBit(())],
    WordBits: [WordBits((5,), 64), WordBits((2, 3), 8)],
    EdaBits: [EdaBits((5,), 64), EdaBits((5,), 8)],
    Compare: [
        Compare((70,), 64),
        Compare((3, 5), 8, True),
        Compare((), 40, True),
        Compare((0,), 8),
        Compare((3, 5), 40, True, "dpf"),
        Compare((), 8, form="dpf"),
        Compare((0,), 64, True, "dpf"),
    ],
    Ramp: [Ramp((70,), 64, 64), Ramp((3, 2), 9, 40), Ramp((), 8, 8), Ramp((0,), 64, 64)],
    Equal: [Equal((70,), 64), Equal((), 8), Equal((3, 5), 64, "dpf"), Equal((5,), 4, "dpf")],
    Select: [Select((5,), (5,)), Select((3, 1), (3, 4)), Select((), (2,)), Select((3, 1), (3, 4), 9)],
    Table: [Table((5,), 4), Table((5,), 9), Table((2, 3), 6), Table((), 0)],
    SignedTable: [SignedTable((5,), 4), SignedTable((2, 3), 9, 2)],
    Lines: [
        Lines((5,), (Cut(10, 9, 7, 8), Cut(0, 4, 5, 0), Cut(3, 6, 0, 0)), 64),
        Lines((2, 3), (Cut(2, 6, 0, 4),)),
        Lines((5,), (Cut(10, 9, 7, 8), Cut(0, 4, 5, 0), Cut(3, 6, 0, 0)), 64, "dpf"),
        Lines((2, 3), (Cut(2, 6, 0, 4),), 0, "dpf", True),
        Lines((3,), (), 8, choose=True),
    ],
}
EVERY = [c for examples in EXAMPLES.values() for c in examples]
PARTIES = (2, 3, 4)
KEYED = ("dpf", "dcf")


def with_parties(correlations_=EVERY, parties=PARTIES):
    """Keys are for two parties."""
    return [(c, n) for c in correlations_ for n in parties if n == 2 or getattr(c, "form", None) not in KEYED]


def pieces(handle):
    """Tensors by party: a share's only one, or all those of keys."""
    if handle.value is not None:
        return [[p] for p in handle.pieces]
    return [[v for v in vars(key).values() if isinstance(v, torch.Tensor)] for key in handle.pieces]


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


@pytest.mark.parametrize(("correlation", "n"), with_parties(), ids=repr)
def test_each_party_expands_what_the_dealer_dealt(correlation, n):
    dealing = Dealing(seeds(n), 5)
    dealt = correlation.deal(dealing)
    for party in range(n):
        received, read = pack_corrections(dealing.corrections, party, n), []
        assert received.numel() == correction_bytes(dealing.corrections, party, n)

        def take(count, received=received, read=read):
            read.append(count)
            return received[sum(read) - count : sum(read)]

        own = correlation.deal(Expanding(party, n, seeds(n)[party], 5, take))
        assert len(own) == len(dealt)
        for mine, theirs in zip(own, dealt):
            assert mine.xor == theirs.xor and (mine.value is None or mine.value.is_meta)
            assert all(same(a, b) for a, b in zip(pieces(mine)[0], pieces(theirs)[party], strict=True))
        assert sum(read) == received.numel(), "a party uses all it received"
    if getattr(correlation, "form", None) not in KEYED:
        assert all(not correction_bytes(dealing.corrections, party, n) for party in range(n - 1))


@pytest.mark.parametrize(("correlation", "n"), with_parties(), ids=repr)
def test_pieces_join_to_the_value_and_serials_name_other_ones(correlation, n):
    first, again, other = (correlation.deal(Dealing(seeds(n), serial)) for serial in (5, 5, 6))
    for h, same_h, other_h in zip(first, again, other):
        for mine, twice, others in zip(pieces(h)[0], pieces(same_h)[0], pieces(other_h)[0]):
            assert same(mine, twice)
            if mine.numel() and mine.dtype == torch.int64 and not isinstance(correlation, Mask):
                assert not torch.equal(mine, others)
        if h.value is None:
            continue
        total = h.pieces[0]
        for piece in h.pieces[1:]:
            total = total ^ piece if h.xor else total + piece
        assert same(total, h.value) and same(h.value, same_h.value)


@pytest.mark.parametrize(("correlation", "n"), with_parties(parties=(2, 3)), ids=repr)
def test_the_planner_sees_the_shapes_and_the_bytes(correlation, n):
    real, meta = Dealing(seeds(n), 5), MetaDealing(seeds(n), 5)
    dealt, planned = correlation.deal(real), correlation.deal(meta)
    for h, m in zip(dealt, planned, strict=True):
        assert h.xor == m.xor and (h.value is None) == (m.value is None) and (h.value is None or m.value.is_meta)
        for theirs, mine in zip(pieces(h), pieces(m), strict=True):
            assert all(p.is_meta for p in mine)
            assert [(p.shape, p.dtype) for p in theirs] == [(p.shape, p.dtype) for p in mine]
    for party in range(n):
        assert correction_bytes(real.corrections, party, n) == correction_bytes(meta.corrections, party, n)


@pytest.mark.parametrize("correlation", [c for c in EVERY if not isinstance(c, Mask)], ids=repr)
def test_nothing_travels_for_uniform_secrets_and_corrections_are_noise(correlation):
    """The correction is the value minus what others expand: under other seeds of party 0 it is another one."""
    dealing = Dealing(seeds(2), 5)
    correlation.deal(dealing)
    stranger = Dealing({0: bytes(31) + b"\1", 1: seeds(2)[1]}, 5)
    correlation.deal(stranger)
    ours, theirs = (pack_corrections(d.corrections, 1, 2) for d in (dealing, stranger))
    assert len(ours) == len(theirs)
    if len(ours) >= 16:
        assert (ours != theirs).double().mean() > 0.5


@pytest.mark.parametrize("correlation", [c for c in EVERY if getattr(c, "form", None) in KEYED], ids=repr)
def test_keys_are_for_two_parties(correlation):
    for reading in (Dealing(seeds(3), 5), Expanding(0, 3, seeds(3)[0], 5, None), MetaDealing(seeds(3), 5)):
        with pytest.raises(ValueError, match="two parties, not 3"):
            correlation.deal(reading)


# ---- what the pieces mean ------------------------------------------------------------------------


def values(correlation, serial=5, n=3):
    return [h.value for h in correlation.deal(Dealing(seeds(n), serial))]


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
        r, r_bits = values(EdaBits((100,), bits))
        assert torch.equal(r_bits, r if bits == 64 else r & ((1 << bits) - 1))


def test_choosers_and_random_bits():
    r, s, s_sum, rs = values(Select((70,), (70,)))
    assert torch.equal(s.long(), s_sum) and torch.equal(rs, r * s_sum) and s.any() and not s.all()
    r, s, s_sum, rs, turn = values(Select((70,), (70,), 9))
    assert torch.equal(rs, (r & 511) * s_sum) and torch.equal(turn, ((r >> 8) & 1) * 512 * s_sum)
    s, s_sum = values(DaBit((70,)))
    assert torch.equal(s.long(), s_sum)
    m, m_bits = values(WordBits((5,), 64))
    assert torch.equal((m_bits << torch.arange(64)).sum(-1), m)


def test_tables_of_masks():
    r, hot = values(Table((50,), 7))
    assert torch.equal(torch.stack([(h[i >> 6] >> (i & 63)) & 1 for h, i in zip(hot, r & 127)]), torch.ones(50).long())


@pytest.mark.parametrize("form", ["digits", "dpf"])
def test_what_a_line_needs(form):
    dealt = values(Lines((50,), (Cut(4, 7, 3, 5),), 0, form), n=2)
    r, low, dealt = dealt[0], dealt[1], dealt[2:]
    assert torch.equal(low, r & 15)
    if form == "digits":
        hot, m, m_bits, m_low = dealt
        assert torch.equal(m_bits, (m[:, None] >> torch.arange(8)) & 1)
        assert torch.equal(m_low, m_bits[:, 3:] * low[:, None])
    else:
        _, u, m, um, ut, u_low, u_low_m, u_low_t = dealt
        m &= torch.tensor([(1 << 5) - 1, (1 << 7) - 1])  # two bits more than value and slope have
        turns = (m >> torch.tensor([4, 6])) << torch.tensor([5, 7])
        assert set(u.tolist()) == {1, -1} and torch.equal(um, u[:, None] * m) and torch.equal(ut, u[:, None] * turns)
        assert torch.equal(u_low, u * low) and torch.equal(u_low_m, u * low * m[:, 1])
        assert torch.equal(u_low_t, u * low * turns[:, 1]) and len(set(turns[:, 1].tolist())) == 2


def test_the_sign_of_a_point():
    """Which party's bit is 1 at alpha."""
    handles = SignedTable((200,), 9).deal(Dealing(seeds(2), 5))
    r, (first, second), u = handles[0].value, handles[1].pieces, handles[2].value
    assert torch.equal(u == 1, dpf.eval(first, r)) and torch.equal(u == -1, dpf.eval(second, r))


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


def as_tensors(piece):
    if isinstance(piece, Keys):
        return [v for _, load in piece._spend() for v in vars(load()).values() if isinstance(v, torch.Tensor)]
    return [piece.data]


@pytest.mark.parametrize("n", PARTIES)
def test_a_dealer_elsewhere_deals_the_same_as_one_here(n):
    service, here = DealerService(n), LocalDealer(seeds(n))
    lines = [Line(service, p) for p in range(n)]
    parties = [RemoteDealer(p, n, seeds(n)[p], lines[p]) for p in range(n)]
    mine = [c for c, _ in with_parties(parties=(n,))]
    for serial, correlation in enumerate(mine):
        expected = here.deal(serial, correlation)
        for p, dealer in enumerate(parties):
            (got,) = dealer.deal(serial, correlation)
            for ours, theirs in zip(got, expected[p], strict=True):
                assert type(ours) is type(theirs) and ours.party == theirs.party == p
                assert all(same(a, b) for a, b in zip(as_tensors(ours), as_tensors(theirs), strict=True))
    keyed = sum(getattr(c, "form", None) in KEYED for c in mine)
    for line in lines[:-1]:
        assert line.asked.count("deal") <= (keyed if n == 2 else 0), "others ask for correction words at most"
    assert parties[-1].sent == here.sent and [p.keys for p in parties] == [here.keys] * n


@pytest.mark.parametrize(
    "correlation",
    [
        Compare((5, CHUNK), 40, True, "dpf"), Ramp((4 * CHUNK + 3,), 40, 64), SignedTable((3 * CHUNK,), 8, 2),
        TruncRelu((2, CHUNK + 1), 64, 16, 30, True, "dpf"), Equal((4 * CHUNK,), 5, "dpf"),
    ],
    ids=lambda c: type(c).__name__,
)  # fmt: skip
def test_parts_that_a_gpu_deals_side_by_side_are_the_same_ones(correlation):
    """Not only do they fit each other: an engine on a GPU may have a partner, and a dealer, on CPUs."""
    service, here, ahead = DealerService(2), LocalDealer(seeds(2)), LocalDealer(seeds(2))
    parties = [RemoteDealer(p, 2, seeds(2)[p], Line(service, p)) for p in (0, 1)]
    ahead.at_once = parties[0].at_once = 3 * CHUNK

    def whole(pieces):
        """Whatever chunks their keys lie in."""
        keyed = [joined([load() for _, load in p._spend()]) if isinstance(p, Keys) else p for p in pieces]
        return [t for p in keyed for t in ([p.data] if isinstance(p, AShare | BShare) else tensors_of(p))]

    expected = list(map(whole, here.deal(0, correlation)))
    for found in (ahead.deal(0, correlation), [*(party.deal(0, correlation)[0] for party in parties)]):
        for ours, theirs in zip(map(whole, found), expected, strict=True):
            assert len(ours) == len(theirs) and all(map(same, ours, theirs))
    assert ahead.sent == here.sent == parties[1].sent and ahead.keys == here.keys


def test_a_dealer_takes_a_card_where_the_parties_do(monkeypatch):
    asked = []
    monkeypatch.setattr(service_module.devices, "nearest", lambda rank: asked.append(rank) or torch.device("cpu"))
    for device, expected in (("cpu", []), ("cuda", [2]), ("cuda:0; rm", [2]), (5, [2])):
        DealerService(2)(0, "seed", {"seed": seeds(2)[0].hex(), "device": device})
        assert asked == expected


@pytest.mark.parametrize("count", [0, 1 << 13, True, "2"])
def test_a_number_of_parts_that_makes_no_sense_is_named(count):
    service = seeded()
    with pytest.raises(ValueError, match="parts are dealt side by side|number from 0 on"):
        ask(service, Square((3,)), count=count)
    with pytest.raises(ValueError, match="does not come in parts"):
        ask(service, Square((3,)), count=2)


def test_large_tensors_are_dealt_in_parts_and_come_out_the_same_everywhere():
    correlation = Compare((5, CHUNK // 2), 40, True, "dpf")
    assert [part.shape for part in correlation.parts()] == [(CHUNK,), (CHUNK,), (CHUNK // 2,)]
    service, here = DealerService(2), LocalDealer(seeds(2))
    parties = [RemoteDealer(p, 2, seeds(2)[p], Line(service, p)) for p in (0, 1)]
    expected = here.deal(0, correlation)
    for p, dealer in enumerate(parties):
        (got,) = dealer.deal(0, correlation)
        for ours, theirs in zip(got, expected[p], strict=True):
            if not isinstance(ours, Keys):
                assert ours.shape[:2] == correlation.shape
            assert all(same(a, b) for a, b in zip(as_tensors(ours), as_tensors(theirs), strict=True))
    planned = Planner(seeds(2))
    planned.deal(0, correlation)
    assert planned.sent == here.sent and planned.keys == here.keys


@pytest.mark.parametrize("correlation", [Compare((3 * CHUNK,), 40, True, "dpf"), Ramp((3 * CHUNK,), 40, 64)], ids=str)
def test_parts_of_one_correlation_have_randomness_of_their_own(correlation):
    """Parts are alike, and lie under one number: a stream that had no name of its own would mask them all alike."""
    for pieces in LocalDealer(seeds(2)).deal(0, correlation):
        for piece in pieces:
            if isinstance(piece, Keys):
                roots = torch.cat([load().root for _, load in piece._spend()])
                assert roots.unique(dim=0).shape[0] == 3 * CHUNK
            elif piece.data.dtype == torch.int64:
                assert piece.data.unique().numel() == 3 * CHUNK
            else:
                first, *others = piece.data.view(3, -1)
                assert not any(torch.equal(first, other) for other in others)


def test_a_dealer_answers_only_what_a_party_may_ask():
    service = DealerService(2)
    for party in (0, 1):
        service(party, "seed", {"seed": seeds(2)[party].hex()})
    request = {"serial": 0, "correlation": to_json(Square((3,)))}
    for party, kind, asked in (
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


def test_of_more_than_two_parties_the_last_one_asks():
    service = DealerService(3)
    for party in range(3):
        service(party, "seed", {"seed": seeds(3)[party].hex()})
    with pytest.raises(ValueError, match="party 0 asked its dealer"):
        service(0, "deal", {"serial": 0, "correlation": to_json(Square((3,)))})


def seeded(n=2):
    service = DealerService(n)
    for party in range(n):
        service(party, "seed", {"seed": seeds(n)[party].hex()})
    return service


def ask(service, asked, party=1, **fields):
    text = asked if isinstance(asked, str) else to_json(asked)
    return service(party, "deal", {"serial": 0, "correlation": text} | fields)


GARBAGE = [
    {"serial": -1}, {"serial": "0"}, {"serial": 0.0}, {"serial": float("nan")}, {"serial": True}, {"serial": None},
    {"serial": 1 << 70}, {"part": -1}, {"part": "1"}, {"part": float("nan")}, {"part": [0]},
    {"correlation": None}, {"correlation": 5}, {"correlation": {"type": "Square", "shape": [3]}},
]  # fmt: skip


@pytest.mark.parametrize("fields", GARBAGE, ids=repr)
def test_garbage_is_named(fields):
    service = seeded()
    with pytest.raises(ValueError, match="number from 0 on, not|as its text"):
        ask(service, Square((3,)), **fields)
    assert len(ask(service, Square((3,)))[1]) == 24, "and has spent nothing"


@pytest.mark.parametrize("request_", [None, 5, [], "serial", {}, {"serial": 0}])
def test_a_request_without_fields_is_named(request_):
    with pytest.raises(ValueError, match="number from 0 on|as its text"):
        seeded()(1, "deal", request_)
    with pytest.raises(ValueError, match="seed for dealing has 32 bytes"):
        DealerService(2)(1, "seed", request_)
    with pytest.raises(ValueError, match="seed for dealing has 32 bytes"):
        DealerService(2)(1, "seed", {"seed": "00" * 31})


HUGE = 10**6
NONSENSE = [
    Square((HUGE, HUGE)),
    Square((1 << 40, 1 << 40)),
    Square((-3,)),
    Square(("3",)),
    Triple(MATMUL, (HUGE, 1), (1, HUGE)),
    Triple(MATMUL, (2, 3), (4, 5)),
    Triple(CONV, (2,), (3,)),
    Triple(MUL, (4,), View(0, (2,), (("resize_.default", ((4,),)),))),
    Triple(MUL, (4,), View(0, (2,), (("no_such_operator.default", ()),))),
    Triple(MUL, (4,), View(0, (1,), (("expand.default", ((HUGE, HUGE),)),))),
    Table((5,), 60),
    Table((5,), 200),
    WordBits((HUGE,), HUGE),
    EdaBits((5,), 1000),
    Compare((HUGE, HUGE), 64),
    Compare((HUGE, HUGE), 64, form="dpf"),
    Compare((CHUNK + 1,), 64, form="dpf"),
    Equal((5,), 0, "dpf"),
    Equal((5,), 65, "dpf"),
    Ramp((5,), 64, 65),
    SignedTable((5,), 9, HUGE * HUGE),
    Table((5,), 1 << 61),
    EdaBits((5,), 1 << 61),
    Select((), (5,), 1 << 61),
    Triple(Bilinear("ragged", (1, 2, 3)), (2, 0), (2, 4, 5)),
]


@pytest.mark.parametrize("correlation", NONSENSE, ids=repr)
def test_what_cannot_be_dealt_is_refused_before_it_is_begun(correlation):
    """A terabyte would end the dealer, and with it everybody's run."""
    service = seeded()
    with pytest.raises(ValueError, match="cannot be dealt|comes in parts|the dealer has"):
        ask(service, correlation)
    assert len(ask(service, Square((3,)), serial=1)[1]) == 24


@pytest.mark.parametrize(
    ("correlation", "old", "new"),
    [
        (Square((1,)), "[1]", "1"),
        (Square((1,)), "[1]", "[true]"),
        (Square((1,)), "[1]", "[1.0]"),
        (Equal((5,), 64, "dpf"), "64", "64.0"),
        (Equal((5,), 64, "dpf"), '"dpf"', "null"),
        (TruncPair((4,), 8, 1), "1", "true"),
        (Compare((4,), 8), "false", "0"),
        (Select((4,), (4,)), "null", "18446744073709551616"),
        (Triple(Bilinear("ragged", (1, 2)), (2, 3), (2, 2)), "[1, 2]", "[true, 2]"),
        (Triple(MUL, (1,), View(0, (1,), ())), '"number": 0', '"number": 0.0'),
    ],
)
def test_what_passes_for_a_number_is_none(correlation, old, new):
    """1.0 and True are equal to 1: what has been looked at for one of them must not be dealt for another."""
    service, text = seeded(), to_json(correlation)
    assert old in text
    with pytest.raises(ValueError, match="not a correlation|is dealt as 'digits'|have lengths from 0 on"):
        ask(service, new.join(text.rsplit(old, 1)))
    with pytest.raises(ValueError, match="not a correlation"):
        ask(service, json.dumps({"type": "Square", "shape": [3.0]}), serial=1)


def test_a_node_with_many_inputs_is_refused():
    text = to_json(Node(4, "g", (1,))).replace("4", "60", 1)
    with pytest.raises(ValueError, match="a node joins 2 to 4"):
        ask(seeded(), text)


def test_parts_come_in_order_and_once():
    service, part = seeded(), Compare((4,), 40, form="dpf")
    for i in (0, 2, 3):  # one may be left out
        ask(service, part, serial=4, part=i)
    for serial, i in ((4, 3), (4, 1), (4, 0), (3, 7)):
        with pytest.raises(ReuseError, match=f"draw {serial} has been dealt already"):
            ask(service, part, serial=serial, part=i)
    ask(service, part, 0, serial=4, part=2)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize(
    "other",
    [TruncPair((4,), 8, 63), Square((12,)), Triple(MUL, (4,), (2, 4)), Select((4,), (4,)), DaBit((64,))],
    ids=repr,
)
def test_another_correlation_under_a_number_tells_nothing_of_what_belongs_to_it(other, n):
    """A correction of 0 would be the other party's piece: so the correlation is part of the streams' name."""
    honest, service = Triple(MUL, (4,), (4,)), DealerService(n)
    for party in range(n):
        service(party, "seed", {"seed": seeds(n)[party].hex()})
    name = stream_name(0, 0, honest)
    theirs = [h.pieces[0] for p in range(n - 1) for h in honest.deal(Expanding(p, n, seeds(n)[p], name, None))]
    pieces = set(
        torch.cat([torch.cat((v, -v)).flatten() for v in theirs + [sum(theirs[i::3]) for i in range(3)]]).tolist()
    )
    _, answer = service(n - 1, "deal", {"serial": 0, "correlation": to_json(other)})
    words = torch.frombuffer(bytearray(answer.tobytes()[: len(answer) // 8 * 8]), dtype=torch.int64)
    assert len(words) and not pieces & set(words.tolist()) and not pieces & set((-words).tolist())


STEPS = [("zeros_like.default", ()), ("mul.Scalar", (1e15,)), ("ones_like.default", ()), ("fft_fft.default", ())]
STEPS += [("expand.default", ((4.0,),)), ("select.int", (0, "0")), ("bitwise_and.Scalar", (0,))]


@pytest.mark.parametrize("step", STEPS, ids=repr)
def test_a_mask_is_rearranged_and_nothing_else(step):
    """Rounded to a float, a piece would show the mask that it should hide."""
    wanted = Triple(MUL, View(7, (4,), (step,)), (4,))
    with pytest.raises(ValueError, match="cannot be dealt"):
        ask(seeded(), wanted)
    with pytest.raises((ValueError, TypeError)):
        wanted.deal(Dealing(seeds(2), 0))


def test_only_words_and_bits_are_shared():
    for share in (Dealing(seeds(2), 0).share, Dealing(seeds(2), 0).xor_share):
        with pytest.raises(TypeError, match="words or bits, not torch.float32"):
            share(torch.ones(3))


def test_an_answer_of_the_wrong_length_is_noticed():
    service = seeded()

    class Wrong(Line):
        def request(self, kind, obj):
            if kind == "seed":
                return {}, b""
            answer, payload = super().request(kind, obj)
            return answer, bytearray(bytes(payload)[: len(payload) + self.by] + bytes(max(0, self.by)))

    for serial, (by, what) in enumerate(((-1, "short"), (8, "long"))):
        line = Wrong(service, 1)
        line.by = by
        with pytest.raises(ValueError, match=f"the dealer's answer is too {what}"):
            RemoteDealer(1, 2, seeds(2)[1], line).deal(serial, Square((3,)))


def test_corrections_leave_and_come_by_the_ways_of_messages(monkeypatch):
    """From a GPU and to one by pinned memory."""
    went = []
    monkeypatch.setattr(service_module.devices, "to_host", lambda words: went.append("to the host") or words)
    monkeypatch.setattr("mpckit.offline.source.received", lambda said, device: went.append("from the line") or said)
    service = DealerService(2)
    parties = [RemoteDealer(p, 2, seeds(2)[p], Line(service, p)) for p in (0, 1)]
    parties[1].deal(0, Square((3,)))
    assert went == ["to the host", "from the line"]
