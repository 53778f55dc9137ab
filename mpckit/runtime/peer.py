"""One peer of a wire: its connection, a half-read frame, and what is not sent yet.

Nothing here waits. Two parties that both send more than the sockets' buffers before they read would wait for each other
for ever, and an encrypted connection must be used by one thread at a time: so the wire asks its peers in turn to read
and write as much as they can, and sleeps until one of them can do more.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

import numpy as np

from .frames import HEADER, Direction, Head, Word, pack_abort
from .sockets import Line, ProtocolError

LINGER = 3.0  # seconds in which the other side may read what was sent last
JOINED = 64 << 10  # bytes up to which a header and its payload are sent as one
PROGRESS = 1 << 10  # bytes of a frame that has not come to its end: fewer are no sign that it ever will
WASTE = 1 << 20  # bytes thrown away at once
LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Peer:
    """The line to party `party`, seen from party `me`; `left` is set once its last words are sent, or cannot be."""

    def __init__(self, party: int, line: Line, me: int):
        self.party, self.sock = party, line.sock
        self.sock.setblocking(False)
        self.left = threading.Event()
        self.moved, self._since = 0.0, 0  # when something came last that is worth waiting for, and the bytes after it
        self.heard = b""  # the header of the frame that came last
        self._mine, self._theirs = Direction(line.key, me), Direction(line.key, party)
        self._queue: deque[memoryview] = deque()
        self._broken = False
        self._head: Head | None = None  # of the frame that is being read
        self._frame: np.ndarray | None = None  # its payload, if it is wanted
        self._header = bytearray(HEADER.size)
        self._view, self._have = memoryview(self._header), 0  # what is being filled, and how far it is
        self._closed = False
        self._unwanted = 0  # bytes still to come of a payload that is not

    # sending

    def send(self, step: int, word: Word, digest: int, payload: memoryview) -> bytes:
        """Begin to send a frame, of which `write` sends the rest; its header."""
        header = self._mine.pack(step, word, digest, payload.nbytes)
        if payload.nbytes <= JOINED:
            self._queue.append(memoryview(header + payload))
        else:
            self._queue += [memoryview(header), payload]
        self.write()
        return header

    def abort(self, step: int, said: dict):
        """Send why this conversation ends."""
        self.send(step, Word.ABORT, 0, memoryview(pack_abort(said)))

    def write(self):
        """Send what can be sent without waiting."""
        try:
            while self._queue and not self._broken:
                view = self._queue[0]
                done = self.sock.send(view)
                if done < len(view):
                    self._queue[0] = view[done:]
                else:
                    self._queue.popleft()
        except LATER:
            return
        except OSError:
            self._broken = True  # the peer may have said why before it left: read that first
        self._queue.clear()

    @property
    def sending(self) -> bool:
        """Whether something is not sent yet."""
        return bool(self._queue)

    def check_sent(self):
        """Raise EOFError(party) if what was to be sent could not be."""
        if self._broken:
            raise EOFError(self.party)

    # receiving

    def ahead(self) -> bool:
        """Whether something has been taken from the socket that `ready` no longer sees."""
        return self._head is not None or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0)

    @property
    def begun(self) -> bool:
        """Whether a part of a frame has come, and not the rest."""
        return self._head is not None or self._have > 0

    def read(self, judge: Callable[["Peer", Head], int]) -> tuple[Head, np.ndarray] | None:
        """Read what is there: head and payload (length,) uint8 once the frame is complete, else None.

        `judge(peer, head)` returns the payload's length, or raises if the frame is not welcome. Raises EOFError(party)
        at the end of the file, ProtocolError for what is no frame.
        """
        if self._head is None and not self._open():
            return None
        if self._frame is None:
            self._take(judge(self, self._head))
        return self._close()

    @property
    def open(self) -> bool:
        """Whether it may still turn out that an ABORT comes next."""
        return not self._closed and (self._head is None or self._head.word == Word.ABORT)

    @property
    def gone(self) -> bool:
        """Whether the end of the file has come, and nothing before it that is still to be read."""
        return self._closed and self._head is None

    def look_ahead(self) -> tuple[Head, np.ndarray] | None:
        """Read the next frame if it is an ABORT; any other one, and the end of the file, wait for their turn."""
        try:
            if self._head is None and (self._closed or not self._open()):
                return None
            if self._head.word != Word.ABORT:
                return None
            return self.read(lambda _, head: head.length)
        except EOFError:
            self._closed = True
            return None

    def look_for_abort(self) -> np.ndarray | None:
        """Throw away what comes until an ABORT frame: its payload, or None if it has not come yet."""
        while self._head is not None or self._open():
            if self._head.word == Word.ABORT:
                if self._frame is None:
                    self._take(self._head.length)
                complete = self._close()
                return None if complete is None else complete[1]
            if self._frame is not None:  # it was wanted until now
                self._unwanted, self._frame = len(self._frame) - self._have, None
            if not self._skip():
                return None
            self._rest()
        return None

    def _open(self) -> bool:
        """Read a header: whether it is there."""
        if not self._fill():
            return False
        self._head = self._theirs.unpack(bytes(self._header))
        self._unwanted = self._head.length
        return True

    def _take(self, length: int):
        self._frame, self._have = np.empty(length, np.uint8), 0
        self._view = memoryview(self._frame)

    def _close(self) -> tuple[Head, np.ndarray] | None:
        """Read the payload: the frame, if all of it is there."""
        if not self._fill():
            return None
        complete, self.heard = (self._head, self._frame), bytes(self._header)
        self._rest()
        return complete

    def _rest(self):
        self._head = self._frame = None
        self._view, self._have = memoryview(self._header), 0

    def _fill(self) -> bool:
        while self._have < len(self._view):
            got = self._receive(self._view[self._have :])
            if not got:
                return False
            self._have += got
        return True

    def _skip(self) -> bool:
        waste = memoryview(bytearray(min(self._unwanted, WASTE)))
        while self._unwanted:
            got = self._receive(waste[: self._unwanted])
            if not got:
                return False
            self._unwanted -= got
        return True

    def _receive(self, view: memoryview) -> int:
        """Bytes read into `view`; 0 if there are none yet."""
        try:
            got = self.sock.recv_into(view)
        except LATER:
            return 0
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
                raise ProtocolError(f"party {self.party}'s bytes were changed on the way", self.party) from None
            got = 0
        if not got:
            raise EOFError(self.party)
        self._since += got
        if not self.begun or self._since >= PROGRESS or got == len(view):
            self.moved, self._since = time.monotonic(), 0
        return got

    # leaving

    def leave(self, last_words: bool):
        """Send what is left, then close; `last_words`: as something was said that the peer may still have to read."""
        if last_words:  # a thread waits for that: this one no longer touches the connection
            threading.Thread(target=self._linger, name=f"leaving party {self.party}", daemon=True).start()
            return
        with contextlib.suppress(OSError):  # the peer may have left before
            self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()
        self.left.set()

    def _linger(self):
        # Closing a socket with unread data resets it, and a reset can destroy the last words on their way: read first.
        deadline = time.monotonic() + LINGER
        while self._queue and time.monotonic() < deadline:
            ready([], [self], 0.1)
            self.write()
        self.left.set()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)  # of an encrypted connection, too: what comes now is only thrown away
            self.sock.settimeout(0.5)
            while self.sock.recv(1 << 16) and time.monotonic() < deadline:
                continue
        self.sock.close()


def ready(reading: Collection[Peer], writing: Collection[Peer], timeout: float) -> list[Peer]:
    """Those of both that can go on now; waits up to `timeout` seconds for the first."""
    peers = {peer.sock.fileno(): peer for peer in (*reading, *writing)}
    if not hasattr(select, "poll"):  # Windows
        found = select.select([p.sock for p in reading], [p.sock for p in writing], [], timeout)
        return [peers[sock.fileno()] for sock in {*found[0], *found[1]}]
    poller = select.poll()
    for number, peer in peers.items():
        poller.register(number, (peer in reading and select.POLLIN) | (peer in writing and select.POLLOUT))
    return [peers[number] for number, _ in poller.poll(timeout * 1000)]
