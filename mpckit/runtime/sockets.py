"""Sockets between processes of one machine: who may connect (a token proves it), and how bytes move.

Both ends prove that they know the run's 32-byte token before the first frame, each by an HMAC over the other's fresh
nonce, so neither sends the token itself and an answer from an earlier run is worth nothing. What follows on the socket
is neither encrypted nor authenticated. That is enough on a loopback interface and nowhere else, so other addresses
are refused.
"""

import hmac
import ipaddress
import queue
import secrets
import socket
import struct
import threading
import time

BUFFER = 4 << 20  # bytes asked for in each direction; the system may grant less
MAGIC = b"mpckit-1"
HELLO = struct.Struct("<8sHH32s")  # magic, who calls, who is called, nonce
NONCE = PROOF = 32
YES, NO = b"Y", b"N"
DEALER = 0xFFFF  # the dealer's name on a socket; parties are numbered from 0
ADMISSION = 5.0  # seconds that an unknown caller gets to prove itself


class WireError(RuntimeError):
    """The conversation over the wire has ended early."""


class PeerError(WireError):
    """Another party failed, or is gone. `party` is its number (`DEALER` for the dealer)."""

    def __init__(self, message: str, party: int = -1):
        super().__init__(message)
        self.party = party


class DivergenceError(WireError):
    """The parties do not run the same program. `positions` maps each party to a sentence on where it is."""

    def __init__(self, message: str, positions: dict[int, str] | None = None):
        super().__init__(message)
        self.positions = positions or {}


class TokenError(WireError):
    """The other end does not know this run's token."""


def name_of(party: int) -> str:
    """ "party 1", or "the dealer"."""
    return "the dealer" if party == DEALER else f"party {party}"


def check_loopback(host: str):
    """Raise ValueError unless every address of `host` belongs to this machine alone."""
    found = {info[4][0].split("%")[0] for info in socket.getaddrinfo(host, None)}
    if all(ipaddress.ip_address(address).is_loopback for address in found):
        return
    raise ValueError(
        f"{host} is not a loopback address: this wire is plaintext, so whoever sits on the network could read and "
        "change the shares. Use 127.0.0.1, and join two machines by an encrypted tunnel that ends there (`ssh -L`)"
    )


def check_token(token: bytes) -> bytes:
    """The token itself, if it is 32 bytes."""
    if not isinstance(token, bytes) or len(token) != 32:
        raise ValueError("a run token is 32 bytes: secrets.token_bytes(32)")
    return token


def _tune(sock: socket.socket):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def receive_into(sock: socket.socket, view: memoryview):
    """Fill `view` from the socket; EOFError when the other end closes first."""
    while len(view):
        got = sock.recv_into(view)
        if not got:
            raise EOFError
        view = view[got:]


def receive(sock: socket.socket, count: int) -> bytes:
    """`count` bytes; EOFError when the other end closes first."""
    buffer = bytearray(count)
    receive_into(sock, memoryview(buffer))
    return bytes(buffer)


def _proof(token: bytes, role: bytes, hello: bytes, nonce: bytes) -> bytes:
    # The role keeps one side's proof from being sent back as the other's.
    return hmac.digest(token, role + hello + nonce, "sha256")


def dial(address: tuple[str, int], me: int, peer: int, token: bytes, timeout: float = 20.0) -> socket.socket:
    """A socket to `peer`, who listens at `address`, after both have proved the token.

    Raises ValueError (not loopback), TokenError, PeerError (nobody there, or no answer within `timeout` seconds).
    """
    check_token(token)
    check_loopback(address[0])
    there = f"{address[0]}:{address[1]}"
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _tune(sock)
        sock.settimeout(timeout)
        sock.connect(tuple(address))
        hello = HELLO.pack(MAGIC, me, peer, secrets.token_bytes(NONCE))
        sock.sendall(hello)
        answer = receive(sock, NONCE + PROOF)
        nonce, proof = answer[:NONCE], answer[NONCE:]
        if not hmac.compare_digest(proof, _proof(token, b"listener", hello, nonce)):
            raise TokenError(
                f"{name_of(peer)} at {there} has another token than {name_of(me)}: it belongs to "
                "another run, or to somebody else"
            )
        sock.sendall(_proof(token, b"caller", hello, nonce))
        verdict = receive(sock, 1)
    except (EOFError, OSError) as error:
        sock.close()
        raise PeerError(f"{name_of(peer)} does not answer at {there} ({error or 'closed'})", peer) from None
    except BaseException:
        sock.close()
        raise
    if verdict != YES:
        sock.close()
        raise TokenError(f"{name_of(peer)} at {there} refused {name_of(me)}: wrong token, or wrong number")
    sock.settimeout(None)
    return sock


class Listener:
    """Waits for callers at `address` (a pair: host, port). Nobody is let in before `accept` has the token."""

    def __init__(self, host: str = "127.0.0.1"):
        check_loopback(host)
        self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        _tune(self._sock)
        self._sock.bind((host, 0))
        self._sock.listen(64)
        self.address: tuple[str, int] = self._sock.getsockname()[:2]
        self.refused = 0

    def accept(self, me: int, callers: set[int], token: bytes, timeout: float = 20.0) -> dict[int, socket.socket]:
        """One socket for each of `callers`. Callers without the token are refused and the wait goes on.

        Raises PeerError, naming who did not come within `timeout` seconds and how many callers were refused.
        """
        check_token(token)
        admitted, found, deadline = queue.SimpleQueue(), {}, time.monotonic() + timeout
        self._sock.settimeout(0.05)
        try:
            while missing := callers - found.keys():
                try:
                    sock, _ = self._sock.accept()
                    # A caller that says nothing must not keep the others waiting: each one has its own thread.
                    threading.Thread(target=self._admit, args=(sock, me, callers, token, admitted), daemon=True).start()
                except TimeoutError:
                    pass
                while not admitted.empty():
                    party, sock = admitted.get()
                    found.setdefault(party, sock)
                if time.monotonic() > deadline:
                    who = ", ".join(map(name_of, sorted(missing)))
                    note = f"; {self.refused} callers without the token were refused" if self.refused else ""
                    raise PeerError(f"{who} did not connect to {name_of(me)} within {timeout:g} s{note}", min(missing))
        except BaseException:
            for sock in found.values():
                sock.close()
            raise
        return found

    def _admit(self, sock: socket.socket, me: int, callers: set[int], token: bytes, admitted: queue.SimpleQueue):
        try:
            _tune(sock)
            sock.settimeout(ADMISSION)
            hello = receive(sock, HELLO.size)
            magic, party, called, _ = HELLO.unpack(hello)
            nonce = secrets.token_bytes(NONCE)
            sock.sendall(nonce + _proof(token, b"listener", hello, nonce))
            known = hmac.compare_digest(receive(sock, PROOF), _proof(token, b"caller", hello, nonce))
            if not (known and magic == MAGIC and called == me and party in callers):
                sock.sendall(NO)
                raise EOFError
            sock.sendall(YES)
            sock.settimeout(None)
            admitted.put((party, sock))
        except (EOFError, OSError):
            self.refused += 1
            sock.close()

    def close(self):
        """Stop listening."""
        self._sock.close()


def listen(host: str = "127.0.0.1") -> Listener:
    """Open a port on a loopback address for the parties of one run; `.address` says where."""
    return Listener(host)
