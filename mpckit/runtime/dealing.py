"""The channel between a party and the dealer: a party asks by name, the dealer answers with an object and bytes.

Requests and answers are JSON with a raw payload behind it, on the same authenticated sockets as the wire. The dealer
only ever hears what kind of randomness is wanted, and in which shapes.
"""

import json
import select
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from .doors import Encryption, Listener, dial
from .sockets import DEALER, SILENCE, PeerError, ProtocolError, cut_off, name_of, plain, receive, receive_into

SIZES = struct.Struct("<IQ")  # lengths of the JSON text and of the payload
LONGEST_REQUEST = 1 << 20  # of text; a request has no payload
LONGEST_TEXT = 64 << 20
LONGEST_PAYLOAD = 1 << 40
PIECE = 1 << 20  # bytes of a payload that must be on their way before patience ends
TICK = 1.0  # seconds between two looks at whether a silent host is still there

Handler = Callable[[int, str, object], tuple[object, bytes | memoryview | np.ndarray] | None]


def _send(sock, message: dict, payload=b"", patience: float | None = None):
    """Send a message. Raises TimeoutError where the other end takes in nothing of it for `patience` seconds."""
    text, payload = json.dumps(message).encode(), memoryview(payload)
    payload = payload.cast("B") if payload.nbytes else payload
    if patience is not None:
        sock.settimeout(patience)
    sock.sendall(SIZES.pack(len(text), payload.nbytes) + text)
    for start in range(0, payload.nbytes, PIECE):
        sock.sendall(payload[start : start + PIECE])


def _wait(sock, patience: float | None = None):
    """Wait for the next message; it may take long, as long as the other host is there. Raises TimeoutError if not.

    And for `patience` seconds at the most (None: as long as it takes).
    """
    poll = getattr(select, "poll", None)
    if poll is None or _buffered(sock):  # Windows, or bytes that the socket no longer shows
        return
    poller = poll()
    poller.register(sock.fileno(), select.POLLIN)
    end = None if patience is None else time.monotonic() + patience
    while not poller.poll((TICK if end is None else max(0.0, min(TICK, end - time.monotonic()))) * 1000):
        if cut_off(sock):
            raise TimeoutError("its host does not answer")
        if end is not None and time.monotonic() >= end:
            raise TimeoutError(f"it has said nothing for {patience:g} s")


def _buffered(sock) -> bool:
    return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0


def _receive(sock, party: int, patience: float | None = None) -> tuple[dict, np.ndarray]:
    """The next message of `party`. Raises ProtocolError for what is none, EOFError or OSError at the end."""
    _wait(sock, patience)
    sock.settimeout(SILENCE)  # once it has begun it must go on
    asked = party != DEALER  # a request is short, and the dealer has others to answer: all of it must come in time
    deadline = time.monotonic() + SILENCE if asked else None
    try:
        size, length = SIZES.unpack(receive(sock, SIZES.size, deadline))
        if size > (LONGEST_REQUEST if asked else LONGEST_TEXT) or length > (0 if asked else LONGEST_PAYLOAD):
            raise ProtocolError(f"{name_of(party)} sent a message of {size} and {length} bytes", party)
        message = json.loads(receive(sock, size, deadline))
        payload = np.empty(length, np.uint8)
        receive_into(sock, memoryview(payload))
    except (ValueError, RecursionError, MemoryError):
        raise ProtocolError(f"{name_of(party)} sent what is no message", party) from None
    finally:
        sock.settimeout(None)
    if not isinstance(message, dict):
        raise ProtocolError(f"{name_of(party)} sent what is no message", party)
    return message, payload


class DealerClient:
    """A party's line to the dealer. Errors are PeerErrors that say what became of the dealer.

    A dealer that says nothing for `patience` seconds counts as gone (None: it may deal as long as it likes).
    """

    def __init__(
        self, address: tuple[str, int], party: int, token: bytes, timeout: float = 20.0, tls: Encryption | None = None,
        patient: bool = False, patience: float | None = None,
    ):  # fmt: skip
        self.party, self.patience = party, patience
        self._sock = dial(address, party, DEALER, token, timeout, tls, patient).sock
        self._open = True

    def request(self, kind: str, obj=None) -> tuple[object, np.ndarray]:
        """Ask for `kind` with a JSON-able `obj` → (the answer's JSON object, its payload (length,) uint8)."""
        if not self._open:
            raise PeerError("the line to the dealer is closed", DEALER)
        try:
            with suppress(ConnectionError):  # a dealer that has failed said why before it left: read that
                _send(self._sock, {"kind": kind, "obj": obj})
            answer, payload = _receive(self._sock, DEALER, self.patience)
        except (EOFError, OSError) as error:
            self._hang_up()
            seen = str(error) if isinstance(error, TimeoutError) else "connection closed"
            raise PeerError(f"the dealer is gone ({seen} while party {self.party} asked for {kind})", DEALER) from None
        except BaseException:
            self._hang_up()  # half an answer is on its way: after an interrupt the line cannot be used again
            raise
        if "failed" in answer:
            self._hang_up()
            raise PeerError(f"the dealer failed: {plain(str(answer['failed']))}", DEALER)
        return answer.get("obj"), payload

    def abort(self, reason: str):
        """Tell the dealer that this party failed; the dealer then stops."""
        self._farewell({"kind": "abort", "obj": reason})

    def close(self):
        """Tell the dealer that this party needs no more."""
        self._farewell({"kind": "close"})

    def _farewell(self, message: dict):
        if self._open:
            with suppress(OSError):  # a dealer that has left already needs no farewell
                _send(self._sock, message)
            self._hang_up()

    def _hang_up(self):
        self._open = False
        self._sock.close()


def serve(
    listener: Listener, token: bytes, parties: set[int] | range, handler: Handler, timeout: float = 20.0,
    patience: float | None = None,
):  # fmt: skip
    """Be the dealer of `parties`: answer each request with `handler(party, kind, obj) → (obj, payload)`.

    A handler that returns None is asked the same again once another party has spoken: it still lacks something.
    Returns once every party has closed. Raises PeerError when a party aborts, vanishes, or does not take its answer in
    for `patience` seconds (None: it may take as long as it likes), and what the handler raises; all parties that still
    listen are told why.
    """
    try:
        lines = {party: line.sock for party, line in listener.accept(DEALER, set(parties), token, timeout).items()}
    finally:
        listener.close()
    try:
        asked: dict[int, tuple] = {}
        while lines:
            for party in _ready(lines):
                message = _request(lines[party], party)
                if message is None:
                    lines.pop(party).close()
                else:
                    asked[party] = message
            while any([_answered(lines[party], party, asked, handler, patience) for party in list(asked)]):
                continue  # an answer to one may be what another waits for
    except BaseException as error:
        reason = str(error) if isinstance(error, PeerError) else f"{type(error).__name__}: {error}"
        for line in lines.values():
            with suppress(OSError):  # it may have left already
                line.settimeout(1.0)
                _send(line, {"failed": reason})
        raise
    finally:
        for line in lines.values():
            line.close()


def _ready(lines: dict) -> list[int]:
    if buffered := [party for party, sock in lines.items() if _buffered(sock)]:
        return buffered
    sockets = {sock.fileno(): party for party, sock in lines.items()}
    if not hasattr(select, "poll"):  # Windows
        return [sockets[fd] for fd in select.select(list(sockets), [], [])[0]]
    poller = select.poll()
    for fd in sockets:
        poller.register(fd, select.POLLIN)
    return [sockets[fd] for fd, _ in poller.poll()]


def _request(sock, party: int) -> tuple[str, object] | None:
    """What the party asks; None once it has closed."""
    try:
        message, _ = _receive(sock, party)
    except (EOFError, OSError):
        raise _gone(party) from None
    if not isinstance(message.get("kind"), str):
        raise ProtocolError(f"party {party} asked for nothing", party)
    if message["kind"] == "abort":
        raise PeerError(f"party {party} failed: {plain(str(message.get('obj')))}", party)
    return None if message["kind"] == "close" else (message["kind"], message.get("obj"))


def _answered(sock, party: int, asked: dict, handler: Handler, patience: float | None) -> bool:
    """Whether the handler had an answer to what the party asked."""
    answer = handler(party, *asked[party])
    if answer is None:
        return False
    del asked[party]
    obj, payload = answer
    try:
        _send(sock, {"obj": obj}, payload, patience)
    except TimeoutError:
        raise PeerError(f"party {party} has not taken in what it asked for within {patience:g} s", party) from None
    except OSError:
        raise _gone(party) from None
    return True


def _gone(party: int) -> PeerError:
    return PeerError(f"party {party} is gone (its line to the dealer closed)", party)
