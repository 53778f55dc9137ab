"""The driver: a session hosts parties in this process and answers what their protocols say.

The simulator hosts all of them: one thread, ordinary tracebacks, no wire. On an engine it hosts one, and a wire
joins it to the others. Both drive the same generators, so both have the same bill and the same transcript.
"""

import contextlib
import contextvars
import time
from typing import NamedTuple

import torch

from ..ask import Draw, Send, together
from ..correlations import Mask
from ..offline.source import LocalDealer, Planner, RemoteDealer
from ..offline.store import Store
from ..protocols import arithmetic
from ..protocols.bit_suite import BitSuite
from ..ring import Ring
from ..share import AShare, BShare
from ..stream import MetaStream, Stream, derive, fresh_seed
from . import round as rounds
from .meter import LAN, Link, Meter
from .report import Report
from .wire import Expected, Outgoing, Word

DEFAULT_RING = Ring()
_current: contextvars.ContextVar["Session"] = contextvars.ContextVar("mpckit session")


class Shared(NamedTuple):
    """A secret as this process holds it: one share for each party hosted here."""

    shares: tuple

    @property
    def shape(self):
        return self.shares[0].shape

    def map(self, view, *args, **kwargs) -> "Shared":
        """Apply a local linear map to every share."""
        return Shared(tuple(s.map(view, *args, **kwargs) for s in self.shares))


class Session:
    """Hosts `here`, some of `parties` (default: all of them).

    wire           joins a hosted party to the others (engines)
    dealer         the line to a dealer's engine; default: deal here
    ring           Z_{2^bits} and the unit of fresh secrets
    suite          the family of protocols; default: `BitSuite(truncation)`
    link           for the times in the report
    truncation     "stochastic", "exact" or (two parties) "local"
    insecure_seed  one seed for all parties, for tests and transcripts only
    record         keep a transcript: (sender, receiver, bytes)
    meta           shapes only, for `plan`
    """

    def __init__(
        self, parties: int = 2, *, here=None, wire=None, dealer=None, ring: Ring = DEFAULT_RING, suite=None,
        link: Link = LAN, truncation: str = "stochastic", insecure_seed: int | None = None, record: bool = False,
        meta: bool = False,
    ):  # fmt: skip
        if parties < 2:
            raise ValueError(f"secure computation needs at least two parties, not {parties}")
        self.suite = suite or BitSuite(truncation)
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
        self.meter, self.store = Meter(self.here), Store()
        self.transcript = [] if record else None
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
            self.dealer = RemoteDealer(self.here[0], parties, seeds[self.here[0]], dealer)
        else:
            self.dealer = LocalDealer(seeds)
        self.drawn, self._drawn_since, self._planned = [], [], False
        self._exits = []
        self._serial = self._inputs = self._masks = self._step = 0

    # ---- secrets ---------------------------------------------------------------------------------

    def share(self, value, owner: int, ring: Ring | None = None) -> Shared:
        """Encode numbers that `owner` knows and share them; `value` is a meta tensor where the owner is not hosted.

        Raises ValueError for an owner who is no party or holds no values, RangeError for what does not fit the ring.
        """
        return self.share_all([value], owner, ring)[0]

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
        label, self._inputs = f"input/{self._inputs}", self._inputs + 1
        stream = MetaStream() if self.meta else Stream(self._private[owner], label) if owner in self._private else None
        own = {owner: (encoded, stream)}
        return [
            arithmetic.input_share(p, owner, self.parties, encoded.shape, ring, *own.get(p, ())) for p in self.here
        ]  # fmt: skip

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

    def fix(self, *values: Shared) -> list[Shared]:
        """Put immutable values under persistent masks, in one round; products with them open the other factor only."""
        numbers = range(self._masks, self._masks + len(values))
        self._masks += len(values)
        columns = [[arithmetic.fix(share, number) for share in x.shares] for x, number in zip(values, numbers)]
        with self.meter.scope("fix"):
            return self._drive([together(*row) for row in zip(*columns)]) if columns else []

    # ---- running ---------------------------------------------------------------------------------

    def run(self, protocol, *args):
        """Run `protocol(*args)` for every hosted party.

        `Shared` arguments, in lists too, become that party's shares.
        """
        return self._drive([protocol(*(_pick(a, i) for a in args)) for i in range(len(self.here))])

    def _drive(self, generators, gather=True):
        replies = [None] * len(generators)
        self.meter.entry().calls += 1
        while True:
            asks, done, slowest = [], {}, 0.0
            for party, generator, reply in zip(self.here, generators, replies):
                start = time.perf_counter()
                try:
                    asks.append(generator.send(reply))
                except StopIteration as stop:
                    done[party] = stop.value
                slowest = max(slowest, time.perf_counter() - start)
            if done:
                if asks:
                    said = (f"at step {self._step}: {rounds.describe(ask)}" for ask in asks)
                    rounds.diverged({p: "at the end" if p in done else next(said) for p in self.here})
                self.meter.book(compute=slowest)
                return _gather(list(done.values())) if gather else list(done.values())
            if len(asks) > 1:
                rounds.agree(asks, self.here, self._step)
            if isinstance(asks[0], Draw):
                self.meter.book(compute=slowest)
                replies = self._draw(asks[0].correlation)
            else:
                replies = self._speak(asks, slowest)

    def _draw(self, correlation):
        if isinstance(correlation, Mask):
            self.store.bind(correlation.number)
        if self.meta:
            self.drawn.append(correlation)
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
        start, before = time.perf_counter(), self.dealer.sent
        pieces = self.dealer.deal(self._serial, correlation)
        self._serial += 1
        self.meter.dealt_bytes += self.dealer.sent - before
        self.meter.dealt_seconds += time.perf_counter() - start
        return pieces

    def prepare(self, draws, progress=lambda done, total: None):
        """The offline phase: have the listed correlations dealt, in order, and report `progress(done, total)`."""
        self._planned = True
        draws = list(draws)
        for k, correlation in enumerate(draws):
            self.store.put(correlation, self._deal(correlation))
            progress(k + 1, len(draws))

    def _speak(self, asks, compute):
        peers = self.parties - 1
        if self.wire is None:
            sent = {}
            for party, ask in zip(self.here, asks):
                shapes = [rounds.message_shape(ask, q) for q in range(self.parties) if q != party]
                sent[party] = sum(map(rounds.length, shapes)) + peers * rounds.HEADER_BYTES
            if self.transcript is not None:
                for party, ask in zip(self.here, asks):
                    for q in range(self.parties):
                        if q != party:
                            self.transcript.append((party, q, bytes(rounds.payload(ask, q))))
            replies = rounds.joined(asks, self.here)
        else:
            (me,), (ask,) = self.here, asks
            received, sent = self._exchange(me, ask)
            replies = [rounds.answers(ask, me, received)]
        self._step += 1
        self.meter.book(1, sent, compute)
        return [r if isinstance(a, rounds.Round) else r[0] for a, r in zip(asks, replies)]

    def _exchange(self, me, ask):
        out, expect = {}, {}
        for q in range(self.parties):
            if q != me:
                shape, coming = rounds.message_shape(ask, q), rounds.expected_shape(ask, me, q)
                out[q] = Outgoing(rounds.digest((self._drawn_since, shape)), rounds.payload(ask, q))
                expect[q] = Expected(rounds.digest((self._drawn_since, coming)), rounds.length(coming))
                if self.transcript is not None:
                    self.transcript.append((me, q, bytes(out[q].payload)))
        drawn = f" after drawing {', '.join(type(c).__name__ for c in self._drawn_since)}" if self._drawn_since else ""
        where = f"{self.meter.path}: {rounds.describe(ask)}{drawn}"
        received = self.wire.exchange(self._step, Word[type(ask).__name__.upper()], where, out, expect)
        self._drawn_since = []
        return received, {me: sum(len(o.payload) + rounds.HEADER_BYTES for o in out.values())}

    # ---- the rest --------------------------------------------------------------------------------

    def report(self) -> Report:
        """What has been said so far, as a snapshot."""
        return Report.of(self)

    def scope(self, name: str):
        return self.meter.scope(name)

    @staticmethod
    def current() -> "Session":
        """The session of the innermost `with session:`."""
        try:
            return _current.get()
        except LookupError:
            raise RuntimeError(
                "no session is open: write `with mpckit.simulate(parties=2):`, or run the program on a team"
            ) from None  # fmt: skip

    def __enter__(self):
        exits = contextlib.ExitStack()
        exits.callback(_current.reset, _current.set(self))
        exits.enter_context(self.meter.phase_of("online"))
        self._exits.append(exits)
        return self

    def __exit__(self, *error):
        self._exits.pop().close()


def simulate(parties: int = 2, **options) -> Session:
    """A session that hosts all parties in this process; options as for `Session`."""
    return Session(parties, **options)


def _pick(value, i):
    if isinstance(value, Shared):
        return value.shares[i]
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_pick(v, i) for v in value)
    return value


def _gather(results):
    first = results[0]
    if isinstance(first, (AShare, BShare)):
        return Shared(tuple(results))
    if isinstance(first, (list, tuple)):
        return type(first)(_gather(column) for column in zip(*results))
    return first
