"""A session hosts parties and answers what their protocols say:

with simulate(parties=3) as session:
    x = session.share(torch.tensor([1.5, -2.0]), owner=0)
    y = session.run(relu, x)                # every party runs the generator; the session carries what they say
    session.open(y, to=1)
"""

import contextvars
import sys

import pytest
import torch

import mpckit as mk
from mpckit.ask import Draw, Open, Send, together
from mpckit.correlations import Square, Triple
from mpckit.once import ReuseError
from mpckit.protocols import arithmetic, bits, compare, gates
from mpckit.protocols.arithmetic import MUL, matmul, mul, square
from mpckit.protocols.bit_suite import BitSuite
from mpckit.protocols.gates import relu
from mpckit.ring import RangeError, Ring
from mpckit.runtime.round import HEADER_BYTES
from mpckit.runtime.session import Session, simulate
from mpckit.runtime.wire import DivergenceError

PARTIES = (2, 3, 4)
INTEGERS = Ring(64, 0)


def quiet(parties=2, **options):
    return Session(parties, ring=options.pop("ring", INTEGERS), insecure_seed=1, **options)


def test_the_example():
    with simulate(parties=3) as session:
        x = session.share(torch.tensor([1.5, -2.0]), owner=0)
        y = session.run(relu, x)
        assert session.ring.decode(session.open(y, to=1)).tolist() == [1.5, 0.0]


# ---- what a session refuses ----------------------------------------------------------------------


def test_a_session_needs_two_parties_all_of_them_here_or_a_wire():
    for parties in (1, 0, -1):
        with pytest.raises(ValueError, match="at least two parties"):
            Session(parties)
    with pytest.raises(ValueError, match="need a wire"):
        Session(3, here=(0, 1))
    with pytest.raises(ValueError, match="truncation is"):
        Session(2, truncation="floor")
    with pytest.raises(ValueError, match="two parties only"):
        Session(3, truncation="local")


def test_an_owner_is_a_party_and_has_its_value():
    session = quiet(3)
    for owner in (3, -1, 99):
        with pytest.raises(ValueError, match=f"owner {owner} is none of the parties 0 to 2"):
            session.share(torch.tensor([1.0]), owner)
    with pytest.raises(ValueError, match=r"party 1 owns this value of shape \(2, 3\), but only its shape is here"):
        session.share(torch.zeros(2, 3, device="meta"), 1)


def test_what_does_not_fit_the_ring_is_not_sent():
    session = quiet(ring=Ring(16, 8))
    with pytest.raises(RangeError, match="^1000.0 does not fit"):
        session.share(torch.tensor([1.0, 1000.0]), 0)
    assert session.meter.total().rounds == 0


# ---- parties that do not run the same program ----------------------------------------------------


def opens(x):
    yield Open(x)


def opens_less(x):
    yield Open(x.like(x.data[:1]))


def opens_bits(x):
    yield Open(bits.BShare(x.data, x.party))


def opens_to_1(x):
    yield Open(x, to=1)


def opens_two(x):
    yield Open(x, x)


def draws(x):
    yield Draw(Square((4,)))


def draws_another(x):
    yield Draw(Triple(MUL, (4,), (4,)))


def sends(x):
    yield Send({p: x.data for p in (0, 1, 2) if p != x.party}, {p: (4,) for p in (0, 1, 2) if p != x.party})


def expects_more(x):
    yield Send({p: x.data for p in (0, 1, 2) if p != x.party}, {p: (5,) for p in (0, 1, 2) if p != x.party})


def speaks_side_by_side(x):
    yield from together(opens(x), opens(x))


def says_nothing(x):
    return x
    yield


SCRIPTS = [
    opens,
    opens_less,
    opens_bits,
    opens_to_1,
    opens_two,
    draws,
    draws_another,
    sends,
    expects_more,
    speaks_side_by_side,
    says_nothing,
]


@pytest.mark.parametrize("one", SCRIPTS)
@pytest.mark.parametrize("other", SCRIPTS)
@pytest.mark.parametrize("odd", [0, 2])
def test_divergence_raises_and_says_who_is_where(one, other, odd):
    session = quiet(3)
    x = session.share(torch.arange(4), 0)
    if one is other and one is not expects_more:
        session.run(one, x)
        return
    before = session.meter.total().rounds
    with pytest.raises(DivergenceError, match="the parties do not run the same program: party 0 is at ") as caught:
        session.run(lambda share: (one if share.party == odd else other)(share), x)
    assert session.meter.total().rounds == before, "nothing was answered"
    assert set(caught.value.positions) == {0, 1, 2}
    start = {
        says_nothing: "at the end",
        opens: "at step 1: Open(ring[4])",
        draws: "at step 1: Draw(Square(shape=(4,)))",
    }
    for party in range(3):
        script = one if party == odd else other
        assert caught.value.positions[party].startswith(start.get(script, "at step 1: "))


def test_a_longer_program_on_one_party_diverges_at_its_end():
    session = quiet(2)
    x = session.share(torch.arange(4), 0)

    def program(share):
        y = yield from square(share)
        if share.party == 0:
            y = yield from square(y)
        return y

    with pytest.raises(DivergenceError, match=r"party 0 is at step 2: Draw\(Square.*; party 1 is at the end"):
        session.run(program, x)


def test_an_error_in_a_protocol_is_an_ordinary_one():
    session = quiet(2)
    x = session.share(torch.arange(4), 0)

    def fails(share):
        yield from square(share)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        session.run(fails, x)
    assert session.open(session.run(square, x)).tolist() == [0, 1, 4, 9], "the session goes on"


# ---- together ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_together_shares_rounds_and_frames(n):
    torch.manual_seed(1)
    x, y, m = torch.randint(-99, 99, (6,)), torch.randint(-99, 99, (6,)), torch.randint(-99, 99, (2, 3))

    def apart(session, x, y, m):
        return [
            session.run(mul, x, y),
            session.run(relu, x),
            session.run(matmul, m, m.map(torch.Tensor.t)),
            session.run(compare.eq, x, y),
        ]

    def at_once(session, x, y, m):
        def program(x, y, m):
            return (yield from together(mul(x, y), relu(x), matmul(m, m.map(torch.Tensor.t)), compare.eq(x, y)))

        return session.run(program, x, y, m)

    bills = []
    for way in (apart, at_once):
        session = quiet(n)
        shared = [session.share(v, 0) for v in (x, y, m)]
        before = session.meter.total()
        results = [session.open(r) for r in way(session, *shared)]
        after = session.meter.total()
        assert torch.equal(results[0], x * y) and torch.equal(results[1], x.relu())
        assert torch.equal(results[2], m @ m.T) and torch.equal(results[3], x == y)
        rounds = after.rounds - before.rounds - 4  # the four openings
        bills.append((rounds, after.sent[0] - before.sent[0] - (n - 1) * HEADER_BYTES * rounds))
    (rounds_apart, payload_apart), (rounds_at_once, payload_at_once) = bills
    relu_rounds = 4
    assert rounds_apart == 1 + relu_rounds + 1 + 3 and rounds_at_once == relu_rounds, "as many as the longest"
    assert payload_apart == payload_at_once


def test_draws_between_openings_do_not_hold_up_the_others():
    def early(x):
        d = yield Draw(Square(tuple(x.shape)))
        yield Open(x - d[0])
        for _ in range(3):
            d = yield Draw(Square(tuple(x.shape)))
        return (yield Open(x - d[0] + d[0]))

    def late(x):
        opened = yield Open(x - x)
        for _ in range(2):
            yield Draw(Square(tuple(x.shape)))
        return opened

    session = quiet(3)
    x = session.share(torch.arange(4), 0)

    def program(x):
        return (yield from together(late(x), early(x), together(late(x), square(x))))

    zero, again, (also_zero, squared) = session.run(program, x)
    assert session.meter.total().rounds == 1 + 2
    assert zero.tolist() == also_zero.tolist() == [0] * 4 and again.tolist() == [0, 1, 2, 3]
    assert session.open(squared).tolist() == [0, 1, 4, 9]


# ---- in and out ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_a_result_goes_to_whom_it_is_for(n):
    for to in (None, *range(n)):
        session = quiet(n, record=True)
        x = session.share(torch.arange(4), 0)
        start = len(session.transcript)
        assert session.open(x, to).tolist() == [0, 1, 2, 3]
        heard = {receiver for _, receiver, data in session.transcript[start:] if data}
        assert heard == ({to} if to is not None else set(range(n)))
        assert len(session.transcript) - start == n * (n - 1), "one frame from everyone to everyone, empty or not"


@pytest.mark.parametrize("n", PARTIES)
def test_many_inputs_and_masks_take_one_round(n):
    session = quiet(n)
    values = [torch.arange(4), torch.arange(6).reshape(2, 3), torch.tensor(5)]
    shared = session.share_all(values, owner=n - 1)
    assert session.meter.total().rounds == 1
    fixed = session.fix(*shared)
    assert session.meter.total().rounds == 2
    for v, s, f in zip(values, shared, fixed):
        assert torch.equal(session.open(s), v) and torch.equal(session.open(f), v)
    assert session.share_all([], 0) == [] == session.fix() and session.meter.total().rounds == 2 + 6
    with pytest.raises(ReuseError):
        session.run(arithmetic.fix, shared[0], 0)


@pytest.mark.parametrize("n", PARTIES)
def test_what_is_published_is_known_to_all(n):
    session = quiet(n, record=True)
    for value in (torch.tensor([True, False]), torch.tensor([[3], [-4]])):
        out = session.publish(value, owner=1)
        assert torch.equal(out, value) and out.dtype == value.dtype
    assert {sender for sender, _, data in session.transcript if data} == {1}


def test_bits_and_words_open_as_what_they_are():
    session = quiet(3, ring=Ring(8, 0))
    x = session.share(torch.arange(-128, 128), 0)
    assert session.open(session.run(gates.drelu, x)).dtype == torch.bool
    assert torch.equal(session.open(session.run(bits.a2b, x)), torch.arange(-128, 128))


# ---- randomness ----------------------------------------------------------------------------------


def conversation(session):
    x, y = session.share(torch.arange(5), 0), session.share(torch.arange(5) - 2, 1)
    session.open(session.run(relu, session.run(mul, x, y)))
    return session.transcript


@pytest.mark.parametrize("n", PARTIES)
def test_one_seed_gives_one_transcript_and_fresh_seeds_another(n):
    def transcript(seed):
        return conversation(Session(n, ring=INTEGERS, insecure_seed=seed, record=True))

    assert transcript(7) == transcript(7) and transcript(7) != transcript(8)
    assert transcript(None) != transcript(None)
    assert [(s, r, len(d)) for s, r, d in transcript(None)] == [(s, r, len(d)) for s, r, d in transcript(7)]
    assert Session(n).transcript is None


def test_no_piece_is_used_for_two_inputs():
    session = quiet(3, record=True)
    for _ in range(2):
        for owner in (0, 1, 2):
            session.share(torch.zeros(8), owner)
    pieces = [data for _, _, data in session.transcript if data]
    assert len(pieces) == len(set(pieces)) == 12


# ---- planning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", PARTIES)
def test_on_meta_tensors_the_bill_is_the_same(n):
    bills = []
    for meta in (False, True):
        session = quiet(n, meta=meta)
        x = torch.arange(70, device="meta" if meta else "cpu")
        x, w = session.share(x, 0), session.share(x.reshape(7, 10), 1)
        y = session.run(relu, session.run(matmul, session.fix(w)[0], x.map(torch.narrow, 0, 0, 10)))
        best, index = session.run(gates.argmax, y)
        opened = session.open(index, to=0)
        assert opened.is_meta == meta and opened.shape == ()
        total = session.meter.total()
        bills.append((total.rounds, total.sent, session.meter.dealt_bytes))
        assert all(s.data.is_meta == meta for s in (*y.shares, *best.shares))
    assert bills[0] == bills[1]


def test_what_a_plan_wrote_down_is_all_that_the_run_draws():
    def program(session, device):
        x = session.share(torch.arange(6, device=device), 0)
        return session.run(gates.reduce_max, session.run(mul, x, x))

    planned = quiet(3, meta=True)
    program(planned, "meta")
    session = quiet(3)
    session.prepare(planned.drawn)
    assert session.open(program(session, "cpu")).item() == 25
    assert session.meter.unplanned == {} and len(session.store) == 0


# ---- where a session is --------------------------------------------------------------------------


def test_the_innermost_session_is_the_current_one():
    def check():
        with pytest.raises(RuntimeError, match="no session is open: write `with mpckit.simulate"):
            Session.current()
        with simulate() as outer:
            assert Session.current() is outer
            with simulate(3) as inner:
                assert Session.current() is inner
            assert Session.current() is outer
            with pytest.raises(KeyError), simulate(4):
                raise KeyError
            assert Session.current() is outer
        with pytest.raises(RuntimeError, match="no session"):
            Session.current()

    contextvars.Context().run(check)


def test_arguments_in_lists_and_tuples_become_each_partys_share():
    session = quiet(3)
    x, y = session.share(torch.arange(3), 0), session.share(torch.arange(3), 1)

    def program(pair, rest):
        assert [s.party for s in (*pair, rest["plain"])] == [pair[0].party] * 2 + [7]
        return (yield from mul(*pair))

    class Seven:
        party = 7

    assert session.open(session.run(program, [x, y], {"plain": Seven()})).tolist() == [0, 1, 4]


def test_a_plain_number_is_shared_as_a_tensor():
    session = Session(2)
    assert session.ring.decode(session.open(session.share(-3.25, 0))) == -3.25


def test_parties_that_are_apart_need_a_dealer():
    with pytest.raises(ValueError, match="need a dealer"):
        Session(2, here=(0,), wire=object())


def test_a_session_may_be_entered_twice_and_is_left_twice():
    session = Session(2)
    with session:
        with session:
            assert Session.current() is session
        assert Session.current() is session
    with pytest.raises(RuntimeError, match="no session is open"):
        Session.current()


def test_ctrl_c_at_the_end_of_any_call_leaves_no_session_open():
    """Python raises it there. Every call of entering, of the block and of leaving has its turn."""
    session, turns = Session(2), 0

    def interrupts() -> bool:
        ended = 0

        def at_the_end(frame, event, argument):
            nonlocal ended
            ended += event == "c_return"
            if ended > turns:
                raise KeyboardInterrupt

        sys.setprofile(at_the_end)
        try:
            with session, session:
                len("block")
        except KeyboardInterrupt:
            return True
        finally:
            sys.setprofile(None)
        return False

    while interrupts():
        turns += 1
        with pytest.raises(RuntimeError, match="no session is open"):
            Session.current()
    assert turns > 10, "interrupts came"


def test_the_suites_truncation_is_the_sessions():
    assert Session(2, suite=BitSuite("exact")).truncation == "exact"
    with pytest.raises(ValueError, match="two parties only"):
        Session(3, suite=BitSuite("local"))


def test_strides_of_the_owner_stay_with_the_owner():
    session = Session(2)
    x = torch.arange(6.0).reshape(2, 3).t()
    shared = session.share(x, 0)
    assert all(s.data.is_contiguous() for s in shared.shares) and torch.equal(
        session.ring.decode(session.open(shared)), x
    )


# ---- who writes protocols makes mistakes ---------------------------------------------------------


def says(ask):
    def protocol(x):
        return (yield ask(x))

    return protocol


MISTAKES = {
    "returns": (lambda x: x, "no protocol: .* speaks with `yield`, and this one returned AShare"),
    "yields a share": (says(lambda x: x), "says AShare: it may say Draw, Open or Send, `yield mk.Open"),
    "yields a class": (says(lambda x: mk.Open), "says the class Open: .*, `yield mk.Open"),
    "opens a tensor": (says(lambda x: mk.Open(x.data)), "opens shares, and Tensor is none"),
    "opens to a number": (says(lambda x: mk.Open(x, 1)), "opens shares, and int is none: .* `to=`"),
    "opens nothing": (says(lambda x: mk.Open()), "opens nothing"),
    "opens to nobody": (says(lambda x: mk.Open(x, to=2)), "party 2, which is none of the parties 0 to 1"),
    "sends to nobody": (says(lambda x: mk.Send({5: x.data})), "party 5, which is none of the parties 0 to 1"),
    "sends a share": (says(lambda x: mk.Send({1 - x.party: x})), "sends words, int64 tensors, and AShare is none"),
    "draws a word": (says(lambda x: mk.Draw("triple")), "draws a correlation, and str is none"),
    "one of two": (lambda x: mk.together(says(mk.Open)(x), says(lambda x: x)(x)), "says AShare"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_protocol_that_says_what_it_cannot(name):
    protocol, words = MISTAKES[name]
    session = mk.simulate()
    x = session.share(torch.ones(2), owner=0)
    said = session.meter.total().rounds
    with pytest.raises(TypeError, match=words):
        session.run(protocol, x)
    assert session.meter.total().rounds == said, "before anything is sent"
    assert session.ring.decode(session.open(x)).tolist() == [1.0, 1.0], "and the session goes on"
