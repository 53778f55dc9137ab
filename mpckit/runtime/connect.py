"""`connect`: join a session from an ordinary process, for parties that trust no common controller.

    mpckit keys --party 0 keys          on each machine; then the .crt files are exchanged, and compared by fingerprint

    with mk.connect(party=0, addresses=["a.example:7000", "b.example:7000"], dealer="c.example:7000", keys="keys"):
        x = mk.secret(mine, owner=0)
        …

Every connection is mutual TLS 1.3 between pinned certificates, and all ends must agree on the list of certificates and
on what the numbers mean before the first frame. Each process runs its own copy of the program: nobody sends code.
"""

import errno
import hashlib
import re
import time
from collections.abc import Sequence
from pathlib import Path

from ..offline.service import DealerService
from .dealing import DealerClient, Handler, serve
from .device import usable
from .doors import Listener, listen
from .session import Session
from .sockets import DEALER
from .tls import Pinned, load
from .wire import TCPWire, WireError, describe

Address = str | tuple[str, int]
TIMEOUT = 60.0  # seconds in which all must have come
PATIENCE = 300.0  # seconds of silence after which a party counts as gone


class JoinedSession(Session):
    """A session that hosts one party, joined to the others; ends with its `with`, or by `close()`, and serves once."""

    def __init__(self, wire: TCPWire, dealer: DealerClient, **options):
        super().__init__(wire.parties, here=(wire.party,), wire=wire, dealer=dealer, **options)
        self._line, self._over = dealer, False

    @property
    def party(self) -> int:
        """The party that this process is."""
        return self.here[0]

    def close(self):
        """Agree with all others that the program is over, and leave. Raises DivergenceError if they do not agree."""
        if self._over:
            return
        try:
            self.wire.finish()
        except BaseException as error:
            self.abort(error)
            raise
        self._over = True
        self._line.close()
        self.wire.close()

    def abort(self, error: BaseException):
        """Leave because of `error`: all others are told its kind at once."""
        self._over = True
        self._line.abort(describe(error))
        self.wire.abort(describe(error))

    def __enter__(self):
        if self._over:
            raise WireError("this session is over, and serves once: mpckit.connect() again, on all parties")
        return super().__enter__()

    def __exit__(self, kind, error, traceback):
        super().__exit__(kind, error, traceback)
        if error is not None:
            self.abort(error)
        elif self._entered is None:
            self.close()


def connect(
    party: int, addresses: Sequence[Address], dealer: Address, keys: str | Path | Pinned, *, listen_on: Address = None,
    timeout: float = TIMEOUT, patience: float | None = PATIENCE, **options,
) -> JoinedSession:  # fmt: skip
    """Join as `party` → a session in which `with session:` runs this party's copy of the program.

    addresses   "host:port" of every party, in order; one's own is where to listen     dealer    where the dealer is
    keys        a folder with this party's key and everybody's certificate (`mpckit keys`)
    listen_on   where to listen instead, behind a router: "0.0.0.0:7000"               options   as for `Session`
    timeout     seconds to wait for the others to come                 patience   … for a word from one of them

    Raises FileNotFoundError, PermissionError, ValueError (keys and addresses), OSError (it cannot listen there),
    RuntimeError (no such device), CertificateError (somebody is not who he should be), TokenError (another session or
    other options), PeerError (somebody did not come).
    """
    places, there = _places(addresses, party), _place(dealer)
    here = places[party] if listen_on is None else _place(listen_on)
    if len({*places, there}) <= len(places):
        raise ValueError(f"two of {', '.join(map(_text, (*places, there)))} are the same: each has a place of its own")
    _check_seconds(timeout=timeout, patience=patience)
    if given := sorted({"parties", "here", "wire", "dealer", "meta"} & options.keys()):
        raise TypeError(f"{', '.join(given)} is not for `connect`, which finds it out: leave it away")
    usable(options.get("device", "cpu"), party)  # before the others are called
    pinned = _pinned(keys, party, len(places))
    like = Session(len(places), meta=True, **{k: v for k, v in options.items() if k != "record"})
    meaning = (like.ring, like.suite.name, sorted(vars(like.suite).items()), like.insecure)
    deadline = time.monotonic() + timeout
    door = _open(here, pinned)
    wire = TCPWire.connect(
        door, party, places, _token(pinned, len(places), repr(meaning)), timeout, tls=pinned, patience=patience,
        patient=True,
    )  # fmt: skip
    try:
        left = max(0.1, deadline - time.monotonic())
        line = DealerClient(
            there, party, _token(pinned, len(places), "dealer"), left, pinned, patient=True, patience=patience
        )
        return JoinedSession(wire, line, **options)
    except BaseException as error:
        wire.abort(describe(error))
        raise


def deal(
    parties: int, address: Address, keys: str | Path | Pinned, *, timeout: float = TIMEOUT,
    patience: float | None = PATIENCE,
):  # fmt: skip
    """Be the dealer of one session of `parties` that join by `connect`; returns when it is over. Errors as there."""
    if parties < 2:
        raise ValueError(f"a dealer deals for two parties or more, not for {parties}")
    _check_seconds(timeout=timeout, patience=patience)
    place, pinned = _place(address), _pinned(keys, DEALER, parties)
    door = _open(place, pinned)
    serve(door, _token(pinned, parties, "dealer"), range(parties), answering(parties), timeout, patience)


def answering(parties: int) -> Handler:
    """A dealer's answers to `serve`: it deals once it has everybody's seed."""
    service = DealerService(parties)

    def answer(party, kind, request):
        if kind == "deal" and len(service.seeds) < parties:
            return None  # every piece depends on every party's seed
        return service(party, kind, request)

    return answer


def _token(pinned: Pinned, parties: int, meaning: str) -> bytes:
    # Not a secret: certificates prove who is who. It differs where two ends have different ideas of the session.
    roster = [pinned.certificates[p] for p in (*range(parties), DEALER)]
    return hashlib.sha256("\n".join(["mpckit session", meaning, *roster]).encode()).digest()


def _pinned(keys: str | Path | Pinned, party: int, parties: int) -> Pinned:
    everybody = [*range(parties), DEALER]
    if isinstance(keys, Pinned):
        if missing := set(everybody) - keys.certificates.keys():
            raise ValueError(f"certificates are missing for {sorted(missing)} ({DEALER} is the dealer)")
        return keys
    return load(keys, party, [p for p in everybody if p != party])


def _open(place: tuple[str, int], pinned: Pinned) -> Listener:
    try:
        return listen(*place, tls=pinned)
    except OSError as error:
        hint = (
            "one's own address is wanted, or listen_on='0.0.0.0:PORT' (--listen) where others reach it by another one"
        )
        if error.errno == errno.EADDRINUSE:
            hint = "another program listens there, or another copy of this one: end it, or agree on another port"
        elif isinstance(error, PermissionError):
            hint = "agree on a port above 1023"
        raise OSError(error.errno, f"cannot listen at {_text(place)} ({error.strerror}): {hint}") from None


def _check_seconds(**times):
    for name, seconds in times.items():
        if seconds is not None and not (isinstance(seconds, (int, float)) and 0 < seconds < float("inf")):
            raise ValueError(f"{name} is a number of seconds, more than 0, not {seconds!r}")


def _text(place: tuple[str, int]) -> str:
    return "{}:{}".format(f"[{place[0]}]" if ":" in place[0] else place[0], place[1])


def _places(addresses: Sequence[Address], party: int) -> list[tuple[str, int]]:
    if isinstance(addresses, str):
        raise ValueError(f'addresses are a list, ["host:port", …], not {addresses!r}')
    if isinstance(party, bool) or not isinstance(party, int):
        raise ValueError(f"a party is a number from 0 on, not {party!r}")
    if len(addresses) < 2 or not 0 <= party < len(addresses):
        raise ValueError(f"party {party} of {len(addresses)}: parties are numbered from 0, and each has an address")
    return [_place(address) for address in addresses]


def _place(address: Address) -> tuple[str, int]:
    """("host", port) of "host:port", "[::1]:port" or a pair."""
    pair = address.rsplit(":", 1) if isinstance(address, str) else address
    host, port = pair if isinstance(pair, (list, tuple)) and len(pair) == 2 else (None, None)
    if not isinstance(host, str) or not host.strip("[]") or not re.fullmatch("[0-9]{1,5}", str(port)):
        port = 0
    if not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address: host:port, such as 192.0.2.7:7000 or [2001:db8::7]:7000")
    return host.strip("[]"), int(port)
