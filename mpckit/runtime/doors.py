"""Who may connect: a run's token proves it, and off this machine a certificate.

Both ends prove that they know the run's 32-byte token before the first frame, each by an HMAC over the other's fresh
nonce, so neither sends the token itself and an answer from an earlier run is worth nothing. Token and nonces also make
a key that only this connection has: frames are tagged with it. Without `tls` what follows is plaintext: that is enough
on a loopback interface and nowhere else, so other addresses are refused. A listener lets in each party once.
"""

import contextlib
import hmac
import secrets
import socket
import ssl
import struct
import threading
import time
from typing import Protocol

from .sockets import CertificateError, Line, PeerError, TokenError, check_loopback, check_token, name_of, receive, tune

MAGIC = b"mpckit-2"
HELLO = struct.Struct("<8sHH32s")  # magic, who calls, who is called, nonce
NONCE = PROOF = 32
YES, NO = b"Y", b"N"
ADMISSION = 5.0  # seconds that an unknown caller gets to prove itself
STRANGERS = 64  # unknown callers at a time; one more, and the one who has stood there longest must go
NOT_NOW = (9, 10)  # OpenSSL's numbers for a certificate that is not valid yet, or not any more
RETRY = 0.1  # seconds between two calls to somebody who is not there yet


class Encryption(Protocol):
    """What turns a socket into an encrypted one (before the handshake) whose ends are known; see `tls.Pinned`."""

    def call(self, sock: socket.socket, peer: int) -> ssl.SSLSocket: ...

    def answer(self, sock: socket.socket) -> ssl.SSLSocket: ...

    def knows(self, sock: ssl.SSLSocket, peer: int) -> bool: ...


def _prove(token: bytes, role: bytes, hello: bytes, nonce: bytes) -> bytes:
    # The role keeps one side's proof from being sent back as the other's.
    return hmac.digest(token, role + hello + nonce, "sha256")


def _reach(address: tuple[str, int], deadline: float, patient: bool) -> socket.socket:
    while True:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        try:
            tune(sock)
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            sock.connect(tuple(address))
            return sock
        except BaseException as error:
            sock.close()
            if not (patient and isinstance(error, OSError) and time.monotonic() + RETRY < deadline):
                raise
        time.sleep(RETRY)


def _shake_hands(sock: ssl.SSLSocket, tls: Encryption, peer: int, there: str):
    try:
        sock.do_handshake()
        if not tls.knows(sock, peer):
            raise ssl.SSLCertVerificationError
    except ssl.SSLCertVerificationError as error:
        if getattr(error, "verify_code", 0) in NOT_NOW:
            raise CertificateError(
                f"the certificate of {name_of(peer)} at {there} is not valid now ({error.verify_message}): its owner "
                "makes another one (`mpckit keys`), or one of the two clocks is wrong"
            ) from None
        raise CertificateError(
            f"{name_of(peer)} at {there} has another certificate than the one that is pinned for it: compare the "
            "fingerprints with its owner, and be careful with this network"
        ) from None
    except (ssl.SSLError, EOFError, ConnectionError) as error:
        what = getattr(error, "reason", None) or "closed"
        raise CertificateError(f"{name_of(peer)} at {there} does not speak TLS 1.3 with us ({what})") from None


def _dismiss(sock: socket.socket):
    # Closing a socket with unread data resets it, and a reset can destroy the answer on its way: read first.
    with sock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(0.5)
        sock.recv(1 << 16)


def dial(
    address: tuple[str, int], me: int, peer: int, token: bytes, timeout: float = 20.0, tls: Encryption | None = None,
    patient: bool = False,
) -> Line:  # fmt: skip
    """A line to `peer`, who listens at `address`, after both have proved the token; `patient`: or will listen there.

    Raises ValueError (not loopback, and no `tls`), TokenError, CertificateError, PeerError (nobody there, or no answer
    within `timeout` seconds).
    """
    check_token(token)
    if tls is None:
        check_loopback(address[0])
    there, deadline, sock = f"{address[0]}:{address[1]}", time.monotonic() + timeout, None
    try:
        sock = _reach(address, deadline, patient)
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        if tls is None:
            check_loopback(sock.getpeername()[0])  # a name may have meant another address a moment ago
        if tls:
            sock = tls.call(sock, peer)
            _shake_hands(sock, tls, peer, there)
        hello = HELLO.pack(MAGIC, me, peer, secrets.token_bytes(NONCE))
        sock.sendall(hello)
        answer = receive(sock, NONCE + PROOF, deadline)
        nonce, proof = answer[:NONCE], answer[NONCE:]
        if not hmac.compare_digest(proof, _prove(token, b"listener", hello, nonce)):
            raise TokenError(
                f"{name_of(peer)} at {there} has another token than {name_of(me)}: it belongs to "
                "another run, was started with other options, or is somebody else"
            )
        sock.sendall(_prove(token, b"caller", hello, nonce))
        if receive(sock, 1, deadline) != YES:
            raise TokenError(
                f"{name_of(peer)} at {there} refused {name_of(me)}: wrong token, wrong number, or that number has come "
                "already (a session is one-time: start a new one on all parties)"
            )
    except BaseException as error:
        if sock is not None:
            sock.close()
        if isinstance(error, ssl.SSLError):
            if "EXPIRED" in str(error.reason):
                why = f"finds {name_of(me)}'s certificate expired: make another one (`mpckit keys`), or mind the clocks"
            else:
                why = f"does not know {name_of(me)}'s certificate: it pins another one"
            raise CertificateError(f"{name_of(peer)} at {there} {why}") from None
        if isinstance(error, (EOFError, OSError)):
            what = "closed" if isinstance(error, EOFError) else error or "closed"
            note = "; does it expect TLS?" if isinstance(error, EOFError) and not tls else ""
            raise PeerError(f"{name_of(peer)} does not answer at {there} ({what}{note})", peer) from None
        raise
    sock.settimeout(None)
    return Line(sock, _prove(token, b"key", hello, nonce))


class _Stranger:
    """A caller who has not proved anything yet."""

    def __init__(self, sock: socket.socket):
        self.sock, self.sent_away = sock, False

    def send_away(self):
        """Whoever waits for a word from it finds the connection closed."""
        self.sent_away = True
        with contextlib.suppress(OSError):  # it has gone by itself
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # SSLSocket's would read on without TLS


class Listener:
    """Waits for callers at `address` (a pair: host, port). Nobody is let in before `accept` has the token.

    With `tls` it may listen on any address (port 0: any free one), and lets in who has a pinned certificate.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: Encryption | None = None):
        if tls is None:
            check_loopback(host)
        self.tls, self.refused = tls, 0
        self._sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            tune(self._sock)
            if port:  # one that was given: a run that ended a moment ago must not block it
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind((host, port))
            if tls is None:
                check_loopback(self._sock.getsockname()[0])  # a name may have meant another address a moment ago
            self._sock.listen(64)
        except BaseException:
            self._sock.close()
            raise
        self.address: tuple[str, int] = self._sock.getsockname()[:2]
        self._lock = threading.Lock()
        self._strangers: list[_Stranger] = []  # as they came

    def accept(self, me: int, callers: set[int], token: bytes, timeout: float = 20.0) -> dict[int, Line]:
        """One line for each of `callers`. Callers without the token are refused and the wait goes on.

        Raises PeerError, naming who did not come within `timeout` seconds and how many callers were refused.
        """
        check_token(token)
        found, deadline = _Found(me, callers, token), time.monotonic() + timeout
        self._sock.settimeout(0.05)
        try:
            while missing := found.missing():
                with contextlib.suppress(TimeoutError):  # nobody called: look at the deadline again
                    stranger = _Stranger(self._sock.accept()[0])
                    self._come(stranger)
                    # A caller that says nothing must not keep the others waiting: each one has its own thread.
                    threading.Thread(target=self._admit, args=(stranger, found), daemon=True).start()
                if time.monotonic() > deadline:
                    who = ", ".join(map(name_of, sorted(missing)))
                    note = f"; {self.refused} callers were refused, who could not prove that they belong to this run"
                    raise PeerError(
                        f"{who} did not connect to {name_of(me)} within {timeout:g} s{note if self.refused else ''}",
                        min(missing),
                    )
        except BaseException:
            for line in found.close().values():
                line.close()
            raise
        return found.close()

    def _come(self, stranger: _Stranger):
        with self._lock:
            self._strangers.append(stranger)
            if len(self._strangers) > STRANGERS:  # who belongs here is through in no time: idlers must not keep it out
                self._strangers.pop(0).send_away()

    def _leave(self, stranger: _Stranger) -> bool:
        """From here on it cannot be sent away; whether it still stood at the door."""
        with self._lock:
            if stranger in self._strangers:
                self._strangers.remove(stranger)
                return True
            return False

    def _admit(self, stranger: _Stranger, found: "_Found"):
        sock, deadline = stranger.sock, time.monotonic() + ADMISSION
        try:
            tune(sock)
            sock.settimeout(ADMISSION)
            if self.tls:
                stranger.sock = sock = self.tls.answer(sock)
                if stranger.sent_away:  # while it had no socket
                    raise EOFError
                sock.do_handshake()
            hello = receive(sock, HELLO.size, deadline)
            magic, party, called, _ = HELLO.unpack(hello)
            if magic != MAGIC:
                raise EOFError
            nonce = secrets.token_bytes(NONCE)
            sock.sendall(nonce + _prove(found.token, b"listener", hello, nonce))
            known = hmac.compare_digest(receive(sock, PROOF, deadline), _prove(found.token, b"caller", hello, nonce))
            known = known and called == found.me and (self.tls is None or self.tls.knows(sock, party))
            if not self._leave(stranger):
                raise EOFError
            if not (known and found.add(party, Line(sock, _prove(found.token, b"key", hello, nonce)))):
                sock.sendall(NO)
                raise EOFError
        except (EOFError, OSError):
            self.refused += 1
            _dismiss(sock)
        finally:
            self._leave(stranger)

    def close(self):
        """Stop listening."""
        self._sock.close()


class _Found:
    """Who of `callers` has come; each of them once."""

    def __init__(self, me: int, callers: set[int], token: bytes):
        self.me, self.token = me, token
        self._waiting, self._lines, self._lock = set(callers), {}, threading.Lock()

    def add(self, party: int, line: Line) -> bool:
        """Let `party` in and tell it so, unless it is in already, or is not waited for."""
        with self._lock:
            if party not in self._waiting:
                return False
            line.sock.sendall(YES)
            line.sock.settimeout(None)
            self._waiting.remove(party)
            self._lines[party] = line
            return True

    def missing(self) -> set[int]:
        with self._lock:
            return set(self._waiting)

    def close(self) -> dict[int, Line]:
        """Let in nobody more; the lines so far."""
        with self._lock:
            self._waiting.clear()
            return dict(self._lines)


def listen(host: str = "127.0.0.1", port: int = 0, tls: Encryption | None = None) -> Listener:
    """Open a port for the parties of one run; `.address` says where. Without `tls`, on a loopback address only."""
    return Listener(host, port, tls)
