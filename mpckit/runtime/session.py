"""The driver: a session hosts parties in this process and answers what their protocols say.

The simulator hosts all of them: one thread, ordinary tracebacks, no wire. On an engine it hosts one, and a wire
joins it to the others. Both drive the same generators, so both have the same bill and the same transcript.
"""

import contextvars
import functools
import threading
import time

import torch

from ..ask import Draw, Send, together
from ..correlations import Mask
from ..offline.source import LocalDealer, Planner, RemoteDealer
from ..offline.spool import Spool
from ..offline.store import Store
from ..once import OneTime
from ..protocols import arithmetic
from ..protocols.suites import suite_of
from ..ring import Ring
from ..stream import MetaStream, Stream, derive, fresh_seed
from . import device as devices
from . import round as rounds
from .delay import hold
from .meter import LAN, Link, Meter, sayable
from .rehearse import Rehearsal
from .report import Report
from .shared import Shared, gathered, pick
from .transcript import Transcript
from .weights import Weights
from .wire import Expected, Outgoing, Word

DEFAULT_RING = Ring()
KEY_BUDGET = 1 << 30
_current: contextvars.ContextVar["Session | None"] = contextvars.ContextVar("mpckit session", default=None)


def _alone(method):
    """In one thread at a time, and only where the session was made: two must not be given the same randomness."""

    @functools.wraps(method)
    def alone(self, *args, **kwargs):
        self.stay_home()
        with self._lock:
            return method(self, *args, **kwargs)

    return alone


class Session(OneTime):
    """Hosts `here`, some of `parties` (default: all of them).

    wire           joins a hosted party to the others (engines)
    dealer         the line to a dealer's engine; default: deal here
    ring           Z_{2^bits} and the unit of fresh secrets
    suite          the family of protocols: "bits" (the default), "fss", "auto" or a `Suite`
    link           for the times in the report
    emulate_link   what is said arrives as much later as it would on the link, so that waiting is felt and measured
    exchange       seconds of software in a round, for the times in the report; default: as measured, 0 without a wire
    truncation     "stochastic", "exact" or (two parties) "local"; default: what the suite takes
    range_bits     a promise about what is compared, see `Suite`
    key_budget     bytes of keys that a party may be dealt, where suite="auto" is to choose
    key_memory     bytes of keys in memory, on a GPU in its own (default: half of what is free); those beyond wait in a
                   temporary file
    weight_memory  bytes of a private model's weights that stay on a GPU, where two copies would not fit: only what is
                   public of them is kept, and what goes beyond waits in host memory and comes layer by layer
    device         where shares, keys and all that is dealt lie and are computed with: "cpu", or "cuda" for a GPU
    insecure_seed  one seed for all parties, for tests and transcripts only
    record         keep a transcript: every message, every word, every answer
    meta           shapes only, for `plan`
    """

    def __init__(
        self, parties: int = 2, *, here=None, wire=None, dealer=None, ring: Ring = DEFAULT_RING, suite=None,
        link: Link = LAN, emulate_link: bool = False, exchange: float | None = None, truncation: str | None = None,
        range_bits: int | None = None, key_budget: int = KEY_BUDGET, key_memory: int | None = None,
        weight_memory: int | None = None, device="cpu", insecure_seed: int | None = None, record: bool = False,
        meta: bool = False,
    ):  # fmt: skip
        if parties < 2:
            raise ValueError(f"secure computation needs at least two parties, not {parties}")
        self.device = torch.device("meta") if meta else devices.usable(device)
        key_memory = key_memory if meta or key_memory is not None else devices.key_memory(self.device)
        self.key_memory, self.weight_memory = key_memory, weight_memory
        self.weights = None if meta or weight_memory is None else Weights(weight_memory, self.device)
        self.suite, self.why = suite_of(suite, parties, link, truncation, range_bits)
        self.truncation = truncation = self.suite.truncation
        if truncation == "local" and parties != 2:
            raise ValueError(
                f"local truncation is for two parties only; {parties} parties take 'stochastic' or 'exact'"
            )
        self.parties, self.here = parties, tuple(range(parties) if here is None else here)
        if wire is None and len(self.here) != parties:
            raise ValueError(f"parties {self.here} of {parties} are here: the others need a wire")
        if wire is not None and dealer is None:
            raise ValueError("parties that are apart need a dealer: pieces that each deals itself do not fit together")
        self.ring, self.link, self.wire, self.meta, self.insecure = ring, link, wire, meta, insecure_seed is not None
        self.emulate_link, self._exchange_told = emulate_link and not meta, exchange
        self.meter, self.store = Meter(self.here), Store()
        self.transcript = Transcript() if record and not meta else None
        if insecure_seed is None:
            roots = {p: fresh_seed() for p in self.here}
        else:
            common = derive(b"insecure", str(insecure_seed))
            roots = {p: derive(common, f"party/{p}") for p in self.here}
        self._private = {p: derive(root, "private") for p, root in roots.items()}
        seeds = {p: derive(root, "dealing") for p, root in roots.items()}
        if meta:
            self.dealer = Planner(seeds)
        elif dealer is not None:
            mine, spool = self.here[0], Spool(key_memory)
            self.dealer = RemoteDealer(mine, parties, seeds[mine], dealer, spool, self.device)
        else:
            self.dealer = LocalDealer(seeds, Spool(key_memory), self.device)
        self.drawn, self._drawn_since, self._planned = [], [], False
        self._rehearsal = Rehearsal()
        self._entered, self._lock, self._last = None, threading.RLock(), time.perf_counter()
        self._serial = self._inputs = self._masks = self._step = 0

    # ---- secrets ---------------------------------------------------------------------------------

    def share(self, value, owner: int, ring: Ring | None = None) -> Shared:
        """Encode numbers that `owner` knows and share them; `value` is a meta tensor where the owner is not hosted.

        Raises ValueError for an owner who is no party or holds no values, RangeError for what does not fit the ring.
        """
        return self.share_all([value], owner, ring)[0]

    @_alone
    def share_all(self, values, owner: int, ring: Ring | None = None) -> list[Shared]:
        """As `share`, for many tensors in one round."""
        columns = [self._input(v, owner, ring or self.ring) for v in values]
        with self.meter.scope("share"):
            return self._drive([together(*row) for row in zip(*columns)]) if columns else []

    def _input(self, value, owner: int, ring: Ring) -> list:
        if not 0 <= owner < self.parties:
            raise ValueError(f"owner {owner} is none of the parties 0 to {self.parties - 1}")
        value = torch.as_tensor(value)
        mine = owner in self.here and not self.meta
        if mine and value.is_meta:
            raise ValueError(
                f"party {owner} owns this value of shape {tuple(value.shape)}, "
                "but only its shape is here (a meta tensor)"
            )
        # Contiguous everywhere: the owner's strides, which the others lack, would lead torch down other paths there.
        encoded = ring.encode(value if mine else value.to("meta")).contiguous()
        with devices.room(self, lambda: f"an input of shape {tuple(value.shape)}"):
            encoded = encoded.to(self.device) if mine else encoded
        label, self._inputs = f"input/{self._inputs}", self._inputs + 1
        known = owner in self._private and not self.meta
        stream = Stream(self._private[owner], label, self.device) if known else MetaStream() if self.meta else None
        own = {owner: (encoded, stream)}
        return [
            arithmetic.input_share(p, owner, self.parties, encoded.shape, ring, *own.get(p, ())) for p in self.here
        ]  # fmt: skip

    @_alone
    def open(self, x: Shared, to: int | None = None):
        """The ring elements (or bits) of a shared value; a meta tensor where they are not for a party hosted here."""
        with self.meter.scope("reveal"):
            values = self._drive([arithmetic.reveal(s, to) for s in x.shares], gather=False)
        return next((v for v in values if not v.is_meta), values[0])

    def publish(self, value, owner: int):
        """Integers or bits that `owner` knows, sent to everyone in clear: a model's causal mask, say."""

        def send(me):
            if me != owner:
                return (yield Send(expect={owner: tuple(value.shape)}))[owner]
            yield Send({p: value.to(torch.int64) for p in range(self.parties) if p != me})
            return value.to(torch.int64)

        return self._drive([send(p) for p in self.here]).to(value.dtype)

    @_alone
    def fix(self, *values: Shared) -> list[Shared]:
        """Put immutable values under persistent masks, in one round; products with them open the other factor only."""
        numbered = zip(values, self.masks(len(values)))
        columns = [[arithmetic.fix(share, number) for share in x.shares] for x, number in numbered]
        return self._drive([together(*row) for row in zip(*columns)]) if columns else []

    def keep(self, values: list[Shared]) -> list[Shared]:
        """Values that `fix` gave, of which only what is public is kept from now on (`weight_memory`)."""
        return values if self.weights is None else [self.weights.keep(v, self.dealer) for v in values]

    def masks(self, count: int) -> range:
        """Numbers for persistent masks that nobody has had."""
        self._masks += count
        return range(self._masks - count, self._masks)

    # ---- running ---------------------------------------------------------------------------------

    def run(self, protocol, *args):
        """Run `protocol(*args)` for every hosted party.

        `Shared` arguments, in lists too, become that party's shares.
        """

        def drive():
            return self._drive([protocol(*(pick(a, i) for a in args)) for i in range(len(self.here))])

        return self._rehearsal.run(self, protocol, args, drive) if self.meta else drive()

    @_alone
    def _drive(self, generators, gather=True):
        replies = [None] * len(generators)
        self.meter.entry().calls += 1
        if self._entered is None:
            self._last = time.perf_counter()
        while True:
            asks, done, compute = [], {}, {}
            for party, generator, reply in zip(self.here, generators, replies):
                start = time.perf_counter()
                try:
                    with devices.room(self, lambda: f"what {self.meter.path or 'the program'} computes"):
                        asks.append(generator.send(reply))
                except StopIteration as stop:
                    done[party] = stop.value
                devices.settle(self.device)
                compute[party] = time.perf_counter() - start
            if done:
                if asks:
                    said = (f"at step {self._step}: {rounds.describe(ask)}" for ask in asks)
                    rounds.diverged({p: "at the end" if p in done else next(said) for p in self.here})
                self._book("Return", compute, speaker=generators[0])
                return gathered(list(done.values())) if gather else list(done.values())
            replies = self.answer(generators, asks, compute)

    def answer(self, generators, asks, compute) -> list:
        """The answers to what the hosted parties' generators just said, after {party: seconds} of `compute`."""
        if len(asks) > 1:
            rounds.agree(asks, self.here, self._step)
        if self.transcript is not None:
            self.transcript.note(self._step, self.meter.path, generators, asks, self.here, self.parties)
        if isinstance(asks[0], Draw):
            before = self.meter.dealt_seconds
            replies = self.draw(asks[0].correlation)
            self._book("Draw", compute, waiting=self.meter.dealt_seconds - before, speaker=generators[0])
        else:
            replies = self._speak(asks, compute, generators[0])
        if self.transcript is not None:
            self.transcript.answered(replies, self.here)
        return replies

    def draw(self, correlation):
        if isinstance(correlation, Mask):
            self.store.bind(correlation.number)
        if self.meta:
            self.drawn.append(correlation)
            self._rehearsal.note(correlation)
        if self.wire is not None:  # parties that draw different things must notice before garbage comes out
            self._drawn_since.append(correlation)
        pieces = self.store.take(correlation)
        if pieces is None:
            if self._planned:
                kind = type(correlation).__name__
                self.meter.unplanned[kind] = self.meter.unplanned.get(kind, 0) + 1
            pieces = self._deal(correlation)
        return pieces

    def _deal(self, correlation):
        start, before, serial = time.perf_counter(), self.dealer.sent, self._serial
        self._serial += 1  # first: a number is not given out again, whatever becomes of this draw
        with devices.room(self, lambda: f"{correlation!r:.200}"):
            pieces = self.dealer.deal(serial, correlation)
        devices.settle(self.device)
        self.meter.dealt_bytes += self.dealer.sent - before
        self.meter.key_bytes = self.dealer.keys
        self.meter.dealt_seconds += time.perf_counter() - start
        return pieces

    @_alone
    def prepare(self, draws, progress=lambda done, total: None):
        """The offline phase: have the listed correlations dealt, in order, and report `progress(done, total)`."""
        self._planned = True
        draws = list(draws)
        for k, correlation in enumerate(draws):
            self.store.put(correlation, self._deal(correlation))
            progress(k + 1, len(draws))
            if self.wire is not None:
                self.wire.check()
        self._last = time.perf_counter()

    def _speak(self, asks, compute, speaker):
        waiting = 0.0
        if self.wire is None:
            sent = {
                party: {
                    q: rounds.length(rounds.message_shape(ask, q)) + rounds.HEADER_BYTES
                    for q in range(self.parties) if q != party
                }
                for party, ask in zip(self.here, asks)
            }  # fmt: skip
            if self.transcript is not None:
                for party, ask in zip(self.here, asks):
                    for q in range(self.parties):
                        if q != party:
                            self.transcript.add(party, q, rounds.payload(ask, q))
            replies = rounds.joined(asks, self.here)
            waiting = self._felt(sent)
        else:
            (me,), (ask,) = self.here, asks
            received, sent, waiting = self._exchange(me, ask)
            replies = [rounds.answers(ask, me, received, self.device)]
        self._step += 1
        if self.meta:
            self._rehearsal.note((rounds.word(asks[0]), sent))
        self._book(rounds.word(asks[0]), compute, sent, waiting, speaker)
        return [r if isinstance(a, rounds.Round) else r[0] for a, r in zip(asks, replies)]

    def _exchange(self, me, ask):
        out, expect = {}, {}
        for q in range(self.parties):
            if q != me:
                shape, coming = rounds.message_shape(ask, q), rounds.expected_shape(ask, me, q)
                out[q] = Outgoing(rounds.digest((self._drawn_since, shape)), rounds.payload(ask, q))
                expect[q] = Expected(rounds.digest((self._drawn_since, coming)), rounds.length(coming))
                if self.transcript is not None:
                    self.transcript.add(me, q, out[q].payload)
        drawn = f" after drawing {', '.join(type(c).__name__ for c in self._drawn_since)}" if self._drawn_since else ""
        where = f"{self.meter.path}: {rounds.describe(ask)}{drawn}"
        start = time.perf_counter()
        received = self.wire.exchange(self._step, Word[type(ask).__name__.upper()], where, out, expect)
        seconds = time.perf_counter() - start
        sent = {me: {q: len(o.payload) + rounds.HEADER_BYTES for q, o in out.items()}}
        if self.wire.local:
            self.meter.exchanges.append(seconds)
        self._drawn_since = []
        return received, sent, seconds + self._felt(sent)

    def _felt(self, sent) -> float:
        """Seconds waited for the link, if it is emulated: what has come here would only now set out on its way."""
        if not self.emulate_link:
            return 0.0
        now = time.perf_counter()
        hold(now + self.link.seconds(1, max(sum(to.values()) for to in sent.values())))
        return time.perf_counter() - now

    def _book(self, word, compute, sent=None, waiting: float = 0.0, speaker=None):
        if self.wire is not None:
            # All that this party did since its last word, what torch and Python did between two protocols included.
            # A simulator does much of that once for all parties: there it is the protocols' own seconds.
            now = time.perf_counter()
            compute, self._last = {self.here[0]: now - self._last - waiting}, now
        self.meter.book(word, compute, sent, waiting, speaker)

    # ---- the rest --------------------------------------------------------------------------------

    @property
    def exchange(self) -> float:
        """Seconds of software in a round: as told, or as measured on this machine."""
        return self.meter.exchange if self._exchange_told is None else self._exchange_told

    def report(self) -> Report:
        """What has been said so far, as a snapshot."""
        return Report.of(self)

    def scope(self, name: str):
        return self.meter.scope(name)

    def tell(self, *, phase: str, **event):
        """Tell whoever listens, the notebook of a team say, before the program ends: `phase` and what JSON can say.

        For how far a program is, and for results revealed to a party here; what is told is no secret any more.
        Raises TypeError for what JSON cannot say.
        """
        event = sayable({"phase": phase, **event})
        for listener in self.meter.listeners:
            listener(event)

    @staticmethod
    def current() -> "Session":
        """The session of the innermost `with session:`."""
        session = _current.get()
        if session is None:
            raise RuntimeError(
                "no session is open: write `with mpckit.simulate(parties=2):`, or run the program on a team"
            )
        return session

    # Ctrl-C is raised where a call ends or begins. So what opens the session is the last call of one, and its end the
    # first of the other. What is left is the instant in which __exit__ begins, which Python protects in no `with`
    # (its issue 29988): a program that goes on after a Ctrl-C there finds the session still open.

    def __enter__(self):
        if self._entered is None:
            self.meter.leave_layers()
        outer, phase, self._last = _current.get(), self.meter.phase_of("online"), time.perf_counter()
        phase.__enter__()
        try:
            _current.set(self)
        except BaseException:
            _current.set(outer)
            raise
        self._entered = outer, phase, self._entered
        return self

    def __exit__(self, *error):
        outer, phase, self._entered = self._entered
        try:
            _current.set(outer)
        finally:
            phase.__exit__(None, None, None)


def simulate(parties: int = 2, **options) -> Session:
    """A session that hosts all parties in this process; options as for `Session`."""
    return Session(parties, **options)
