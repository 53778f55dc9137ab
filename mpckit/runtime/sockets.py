"""Sockets between processes: what can go wrong on them, and how bytes move."""

import ipaddress
import socket
import sys
import time
from dataclasses import dataclass

BUFFER = 4 << 20  # bytes asked for in each direction; the system may grant less
DEALER = 0xFFFF  # the dealer's name on a socket; parties are numbered from 0
SILENCE = 5.0  # seconds after which half a message, or a host that acknowledges nothing, counts as lost
TCP_INFO = (24, 56)  # where Linux has the number of unacknowledged segments, and the milliseconds since the last answer


class WireError(RuntimeError):
    """The conversation over the wire has ended early."""


class PeerError(WireError):
    """Another party failed, or is gone. `party` is its number (`DEALER` for the dealer)."""

    def __init__(self, message: str, party: int = -1):
        super().__init__(message)
        self.party = party


class ProtocolError(PeerError):
    """What came from `party` is no message of this conversation: replayed, out of order, too long, or garbage."""


class DivergenceError(WireError):
    """The parties do not run the same program. `positions` maps each party to a sentence on where it is."""

    def __init__(self, message: str, positions: dict[int, str] | None = None):
        super().__init__(message)
        self.positions = positions or {}


class TokenError(WireError):
    """The other end does not know this run's token."""


class CertificateError(WireError):
    """The other end does not have the certificate that is pinned for it, or does not speak TLS."""


@dataclass(frozen=True)
class Line:
    """A socket to somebody who has proved who he is, and the key that both ends have for it."""

    sock: socket.socket
    key: bytes

    def close(self):
        self.sock.close()


def name_of(party: int) -> str:
    """ "party 1", or "the dealer"."""
    return "the dealer" if party == DEALER else f"party {party}"


def plain(text: str, most: int = 3000) -> str:
    """What somebody else wrote, as it may stand in an error: one line, without what would steer a terminal."""
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]} …"


def is_loopback(host: str) -> bool:
    """Whether every address of `host` belongs to this machine alone."""
    found = {info[4][0].split("%")[0] for info in socket.getaddrinfo(host, None)}
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def is_near(sock: socket.socket) -> bool:
    """Whether the other end is known to be on this machine."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True  # a pair of sockets
    try:
        return is_loopback(sock.getpeername()[0])
    except OSError:  # it has left already, and the first exchange will say so
        return False


def check_loopback(host: str):
    """Raise ValueError unless every address of `host` belongs to this machine alone."""
    if is_loopback(host):
        return
    raise ValueError(
        f"{host} is not a loopback address: this wire is plaintext, so whoever sits on the network could read and "
        "change the shares. Use 127.0.0.1, or mpckit.connect(), which encrypts"
    )


def check_token(token: bytes) -> bytes:
    """The token itself, if it is 32 bytes."""
    if not isinstance(token, bytes) or len(token) != 32:
        raise ValueError("a run token is 32 bytes: secrets.token_bytes(32)")
    return token


def tune(sock: socket.socket):
    """Large buffers, no waiting for more to send, and a sign of life from a host that is silent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a host that is gone is missed while all are silent
    for option, seconds in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def cut_off(sock: socket.socket) -> bool:
    """Whether the other host has acknowledged nothing of what was sent for `SILENCE` seconds (Linux; else False).

    The system itself would try on for a quarter of an hour. A peer that computes and does not read acknowledges all the
    same, so it is not taken for lost.
    """
    if sys.platform != "linux":
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    except OSError:  # no TCP socket, or closed
        return False
    unanswered, since = (int.from_bytes(info[at : at + 4], sys.byteorder) for at in TCP_INFO)
    return unanswered > 0 and since > SILENCE * 1000


def receive_into(sock: socket.socket, view: memoryview, deadline: float | None = None):
    """Fill `view` from the socket; EOFError when the other end closes first, TimeoutError when its time is over.

    `deadline` (of `time.monotonic`) is for all of it: the socket's own limit begins anew with every byte.
    """
    while len(view):
        if deadline is not None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError("timed out")
            sock.settimeout(left)
        got = sock.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]


def receive(sock: socket.socket, count: int, deadline: float | None = None) -> bytes:
    """`count` bytes; errors as for `receive_into`."""
    buffer = bytearray(count)
    receive_into(sock, memoryview(buffer), deadline)
    return bytes(buffer)
