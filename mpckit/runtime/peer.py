"""One peer of a wire: its socket, a half-read frame, and the thread that sends what would block.

Two parties that both send more than the sockets' buffers before they read would wait for each other for ever, so large
payloads leave from a thread of their own while the main thread receives.
"""

import json
import queue
import socket
import struct
import threading
import time
from enum import IntEnum

import numpy as np

HEADER = struct.Struct("<IHHQQ")  # step, word, sender, shape digest, payload length: 24 bytes
LONGEST_ABORT = 1 << 20
LINGER = 3.0  # seconds in which the other side may read what was sent last


class Word(IntEnum):
    """What a frame says."""

    OPEN = 1
    SEND = 2
    ROUND = 3
    END = 4  # "my program is over"
    ABORT = 9

    @classmethod
    def _missing_(cls, value):
        return cls.__members__.get(str(value).upper())  # the conversation's own names: Word("Open")


class Peer:
    """The socket to party `party`; `sent` is set while nothing waits to be sent."""

    def __init__(self, party: int, sock: socket.socket):
        self.party, self.sock = party, sock
        self.header = bytearray(HEADER.size)
        self.sent = threading.Event()
        self.sent.set()
        self.skip = 0  # payload bytes still to come of a frame that nobody wants
        self._have = 0  # bytes of the current frame's header or payload so far
        self._frame: np.ndarray | None = None
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._broken = False

    # sending

    def send(self, header: bytes, payload, direct: bool):
        """Send a frame; one that is not `direct` from the thread, so `flush` before the payload is changed."""
        if not direct:
            return self.post(header, payload)
        try:
            self.sock.sendall(header + payload if len(payload) else header)
        except OSError:
            self._broken = True  # the peer may have said why before it left: read that first

    def post(self, *parts):
        """Have the thread send `parts`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._pump, name=f"to party {self.party}", daemon=True)
            self._thread.start()
        self.sent.clear()
        self._queue.put(parts)

    def flush(self):
        """Wait until all is sent; EOFError(party) if it could not be."""
        self.sent.wait()
        if self._broken:
            raise EOFError(self.party)

    def hang_up(self):
        """Send what is left, then close."""
        if self._thread is None:
            self._close()
        else:
            self._queue.put(None)

    def _pump(self):
        while (parts := self._queue.get()) is not None:
            try:
                for part in parts:
                    self.sock.sendall(part)
            except OSError:
                self._broken = True
            if self._queue.empty():
                self.sent.set()
        self.sent.set()
        self._linger()

    def _linger(self):
        # Closing a socket with unread data resets it, and a reset can destroy the last words on their way: read first.
        deadline = time.monotonic() + LINGER
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(0.5)
            while self.sock.recv(1 << 16) and time.monotonic() < deadline:
                pass
        except OSError:
            self._broken = True
        self.sock.close()

    def _close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._broken = True
        self.sock.close()

    # receiving

    def _fill(self, view, block: bool) -> bool:
        """Read on into `view` from byte `_have`; True once it is full. EOFError(party) at the end of the file."""
        view = memoryview(view)
        while self._have < len(view):
            try:
                got = self.sock.recv_into(view[self._have :])
            except OSError:
                got = 0
            if not got:
                raise EOFError(self.party)
            self._have += got
            if not block:
                break
        if self._have < len(view):
            return False
        self._have = 0
        return True

    def read(self, judge, block: bool) -> np.ndarray | None:
        """Read on: the payload, once the frame is complete, else None (never None if `block`).

        `judge(peer, header)` returns the payload's length, or raises if the frame is not welcome.
        """
        if self._frame is None:
            if not self._fill(self.header, block):
                return None
            self._frame = np.empty(judge(self, bytes(self.header)), np.uint8)
            if len(self._frame) and not block:
                return None  # the socket may have nothing more to read yet
        if len(self._frame) and not self._fill(self._frame, block):
            return None
        frame, self._frame = self._frame, None
        return frame

    def read_abort(self, length: int) -> dict:
        """What an ABORT frame says, after its header."""
        body = bytearray(min(length, LONGEST_ABORT))
        self._have = 0
        self._fill(body, True)
        return json.loads(body)

    def look_for_abort(self) -> dict | None:
        """Throw away what comes until an ABORT frame: what it says, or None if it has not come yet."""
        if self._frame is not None:
            self.skip, self._have, self._frame = len(self._frame) - self._have, 0, None
        if self.skip:
            try:
                got = len(self.sock.recv(min(self.skip, 1 << 20)))
            except OSError:
                got = 0
            if not got:
                raise EOFError(self.party)
            self.skip -= got
            return None
        if not self._fill(self.header, False):
            return None
        _, word, _, _, length = HEADER.unpack(self.header)
        if word == Word.ABORT:
            return self.read_abort(length)
        self.skip = length
        return None
