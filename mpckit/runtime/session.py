"""The session: which parties are in this process, in which ring and suite, and what is secret among them.

How it answers what protocols say stands in `driver.py`.
"""

import contextvars
import time

import torch

from ..ask import Send, together
from ..kernels.place import placed
from ..offline.source import LocalDealer, Planner, RemoteDealer
from ..offline.spool import Spool
from ..protocols import arithmetic
from ..protocols.suites import suite_of
from ..ring import Ring
from ..stream import MetaStream, Stream, derive, fresh_seed
from . import device as devices
from .driver import Driver, alone
from .meter import LAN, Link, sayable
from .report import Report
from .shared import Shared
from .units import size
from .weights import Weights

DEFAULT_RING = Ring()
KEY_BUDGET = 1 << 30
_current: contextvars.ContextVar["Session | None"] = contextvars.ContextVar("mpckit session", default=None)


class Session(Driver):
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
    key_budget     bytes of keys that a party may be dealt, where suite="auto" is to choose: a plan keeps to it, and the
                   report of a session without one says when it has been passed
    key_memory     bytes of keys, and of all else that is dealt ahead, in memory, on a GPU in its own (default: half of
                   what is free); what is beyond waits in a temporary file
    weight_memory  bytes of a private model's weights that stay on a GPU, where two copies would not fit: only what is
                   public of them is kept, and what goes beyond waits in host memory and comes layer by layer
    device         where shares, keys and all that is dealt lie and are computed with: "cpu", or "cuda" for a GPU: to
                   parties in processes of their own, each a card of its own if there are as many
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
        for name, most in dict(key_budget=key_budget, key_memory=key_memory, weight_memory=weight_memory).items():
            if most is not None and most < 0:
                raise ValueError(f"{name} is a number of bytes, 0 for none, not {most}")
        device = torch.device("meta") if meta else devices.usable(device, None if wire is None else here[0])
        key_memory = key_memory if meta or key_memory is not None else devices.key_memory(device, wire is None)
        self.key_memory, self.weight_memory = key_memory, weight_memory
        self.weights = None if meta or weight_memory is None else Weights(weight_memory, device)
        self.suite, self._why = suite_of(suite, parties, link, truncation, range_bits)
        self._key_budget = key_budget
        self.truncation = truncation = self.suite.truncation
        if truncation == "local" and parties != 2:
            raise ValueError(
                f"local truncation is for two parties only; {parties} parties take 'stochastic' or 'exact'"
            )
        here = tuple(range(parties) if here is None else here)
        if wire is None and len(here) != parties:
            raise ValueError(f"parties {here} of {parties} are here: the others need a wire")
        if wire is not None and dealer is None:
            raise ValueError("parties that are apart need a dealer: pieces that each deals itself do not fit together")
        self.ring, self.insecure = ring, insecure_seed is not None
        if insecure_seed is None:
            roots = {p: fresh_seed() for p in here}
        else:
            common = derive(b"insecure", str(insecure_seed))
            roots = {p: derive(common, f"party/{p}") for p in here}
        self._private = {p: derive(root, "private") for p, root in roots.items()}
        seeds = {p: derive(root, "dealing") for p, root in roots.items()}
        if meta:
            source = Planner(seeds)
        elif dealer is not None:
            source = RemoteDealer(here[0], parties, seeds[here[0]], dealer, Spool(key_memory), device)
        else:
            source = LocalDealer(seeds, Spool(key_memory), device)
        super().__init__(parties, here, wire, source, link, emulate_link, exchange, device, record, meta)
        self._inputs = self._masks = 0

    # ---- secrets ---------------------------------------------------------------------------------

    def share(self, value, owner: int, ring: Ring | None = None) -> Shared:
        """Encode numbers that `owner` knows and share them; `value` is a meta tensor where the owner is not hosted.

        Raises ValueError for an owner who is no party or holds no values, RangeError for what does not fit the ring.
        """
        return self.share_all([value], owner, ring)[0]

    @alone
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
            encoded = placed(encoded, self.device) if mine else encoded
        label, self._inputs = f"input/{self._inputs}", self._inputs + 1
        known = owner in self._private and not self.meta
        stream = Stream(self._private[owner], label, self.device) if known else MetaStream() if self.meta else None
        own = {owner: (encoded, stream)}
        return [
            arithmetic.input_share(p, owner, self.parties, encoded.shape, ring, *own.get(p, ())) for p in self.here
        ]  # fmt: skip

    @alone
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

    @alone
    def fix(self, *values: Shared) -> list[Shared]:
        """Put immutable values under persistent masks, in one round; products with them open the other factor only."""
        numbered = zip(values, self.masks(len(values)))
        columns = [[arithmetic.fix(share, number) for share in x.shares] for x, number in numbered]
        return self._drive([together(*row) for row in zip(*columns)]) if columns else []

    def keep(self, values: list[Shared]) -> list[Shared]:
        """Values that `fix` gave, of which only what is public is kept from now on (`weight_memory`)."""
        return values if self.weights is None else [self.weights.keep(v, self.dealer) for v in values]

    @alone
    def masks(self, count: int) -> range:
        """Numbers for persistent masks that nobody has had."""
        self._masks += count
        return range(self._masks - count, self._masks)

    # ---- the rest --------------------------------------------------------------------------------

    @property
    def why(self) -> str:
        """Why this suite, if it was "auto" that took it; and whether its keys have gone beyond their budget since."""
        keys, budget = self.meter.key_bytes, self._key_budget
        if not self._why or keys <= budget:
            return self._why
        beyond = f"its keys take {size(keys)}, the budget is {size(budget)}: mk.plan(…, suite='auto') keeps to it"
        return f"{self._why}; {beyond}"

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
