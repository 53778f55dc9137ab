"""The driver: answers what the protocols of the parties in this process say.

The simulator hosts all of them: one thread, ordinary tracebacks, no wire. On an engine it hosts one, and a wire
joins it to the others. Both drive the same generators, so both have the same bill and the same transcript.
"""

import contextlib
import functools
import threading
import time

from ..ask import Draw
from ..correlations import Mask
from ..kernels.dry import Dry
from ..offline.store import Store
from ..once import OneTime
from . import device as devices
from . import round as rounds
from .clock import Clock
from .delay import hold
from .meter import Meter
from .rehearse import Rehearsal
from .shared import gathered, pick
from .transcript import Transcript
from .warm import warm_up
from .wire import Expected, Outgoing, Word


def alone(method):
    """In one thread at a time, and only where the session was made: two must not be given the same randomness."""

    @functools.wraps(method)
    def locked(self, *args, **kwargs):
        self.stay_home()
        with self._lock, self.dry:
            return method(self, *args, **kwargs)

    return locked


class Driver(OneTime):
    """Drives the protocols of parties `here` of `parties`, and books what they say; options as for `Session`.

    dealer   an `offline.Source`: what is drawn and not in the store comes from there
    """

    def __init__(self, parties, here, wire, dealer, link, emulate_link, exchange, device, record, meta):
        self.parties, self.here, self.wire, self.dealer, self.meta = parties, here, wire, dealer, meta
        self.link, self.device = link, device
        self.emulate_link, self._exchange_told = emulate_link and not meta, exchange
        self.clock = Clock(device)
        self.meter, self.store = Meter(here, self.clock.settle), Store(dealer.spool)
        self.dry = Dry() if meta else contextlib.nullcontext()
        self.transcript = Transcript() if record and not meta else None
        self.drawn, self._drawn_since, self._planned = [], [], False
        self._rehearsal = Rehearsal()
        if wire is not None:
            warm_up()  # here a party's clock runs on between two words
        self._entered, self._lock, self._last = None, threading.RLock(), time.perf_counter()
        self._serial = self._step = 0
        self._waited = 0.0  # seconds, for the last draw

    def run(self, protocol, *args):
        """Run `protocol(*args)` for every hosted party.

        `Shared` arguments, in lists too, become that party's shares.
        """

        def drive():
            made = (protocol(*(pick(a, i) for a in args)) for i in range(len(self.here)))
            return self._drive([rounds.spoken(generator, protocol) for generator in made])

        return self._rehearsal.run(self, protocol, args, drive) if self.meta else drive()

    @alone
    def _drive(self, generators, gather=True):
        replies = [None] * len(generators)
        self.meter.entry().calls += 1
        if self._entered is None:
            self._last = time.perf_counter()
        while True:
            asks, done, spans = [], {}, {}
            for party, generator, reply in zip(self.here, generators, replies):
                since = self.clock.now()
                try:
                    with devices.room_to_compute(self):
                        asks.append(generator.send(reply))
                except StopIteration as stop:
                    done[party] = stop.value
                spans[party] = since, self.clock.now()
            if done:
                if asks:
                    said = (f"at step {self._step}: {rounds.describe(ask)}" for ask in asks)
                    rounds.diverged({p: "at the end" if p in done else next(said) for p in self.here})
                self._book("Return", spans, speaker=generators[0])
                return gathered(list(done.values())) if gather else list(done.values())
            with devices.room_to_compute(self):
                replies = self.answer(generators, asks, spans)

    def answer(self, generators, asks, spans) -> list:
        """The answers to what the hosted parties' generators just said; `spans`, {party: two moments}: how long they
        computed before.
        """
        for ask in asks:
            rounds.check(ask, self.parties)
        if len(asks) > 1:
            rounds.agree(asks, self.here, self._step)
        if self.transcript is not None:
            self.transcript.note(self._step, self.meter.path, generators, asks, self.here, self.parties)
        if isinstance(asks[0], Draw):
            self._waited = 0.0
            replies = self.draw(asks[0].correlation)
            self._book("Draw", spans, waiting=self._waited, speaker=generators[0])
        else:
            replies = self._speak(asks, spans, generators[0])
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
        since, before, serial = self.clock.now(), self.dealer.sent, self._serial
        self._serial += 1  # first: a number is not given out again, whatever becomes of this draw
        with devices.room(self, lambda: f"{correlation!r:.200}"):
            pieces = self.dealer.deal(serial, correlation)
        self.meter.dealt_bytes += self.dealer.sent - before
        self.meter.key_bytes = self.dealer.keys
        self._waited = self._known({"dealt": (since, self.clock.now())}, self.meter.dealt)["dealt"]
        self.meter.dealt({"dealt": self._waited})
        return pieces

    @alone
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

    def _speak(self, asks, spans, speaker):
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
        self._book(rounds.word(asks[0]), spans, sent, waiting, speaker)
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
        devices.settle(self.device)  # what is not computed has not set out
        now = time.perf_counter()
        hold(now + self.link.seconds(1, max(sum(to.values()) for to in sent.values())))
        return time.perf_counter() - now

    def _known(self, spans, later) -> dict[str, float]:
        """{name: seconds}; 0 where a GPU is behind and nobody listens: `later` is told them then."""
        if self.clock.ahead and self.wire is None and not self.meter.listeners:
            self.clock.owe(later, spans)
            return dict.fromkeys(spans, 0.0)
        return self.clock.seconds(spans)

    def _book(self, word, spans, sent=None, waiting: float = 0.0, speaker=None):
        if self.wire is None:
            compute = self._known(spans, self.meter.entry().computed)
        else:
            # All that this party did since its last word, what torch and Python did between two protocols included.
            # A simulator does much of that once for all parties: there it is the protocols' own seconds.
            now = time.perf_counter()
            compute, self._last = {self.here[0]: now - self._last - waiting}, now
        self.meter.book(word, compute, sent, waiting, speaker)

    @property
    def exchange(self) -> float:
        """Seconds of software in a round: as told, or as measured on this machine."""
        return self.meter.exchange if self._exchange_told is None else self._exchange_told
