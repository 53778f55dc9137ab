"""Events from the parties to the notebook: small, never waited for, and heard only from parties of this run.

A party must not slow down because nobody looks at its progress, so an event that does not fit the queue is dropped and
counted. Events are small JSON objects about shapes, counts and times; shares and data have no business here.
"""

import contextvars
import hmac
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable

import zmq

from .sockets import check_loopback, check_token

QUEUE = 10_000  # events under way
KEPT = 200_000  # events kept by the notebook
LONGEST_EVENT = 64 << 10  # bytes


class EventSender:
    """A party's end: `send(**event)` returns at once."""

    def __init__(self, address: str, party: int, token: bytes):
        self.party, self.dropped = party, 0
        self._token = check_token(token)
        self._socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.sndhwm = QUEUE
        self._socket.linger = 500  # ms; a notebook that is gone must not hold up the end of a run
        self._socket.connect(address)

    def send(self, **event):
        """Send `event`, a flat JSON-able dictionary; dropped when the queue is full."""
        text = json.dumps({"party": self.party, "dropped": self.dropped, **event}).encode()
        try:
            self._socket.send_multipart([self._token, text], zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += 1

    def close(self):
        """Leave; what is queued still goes out for half a second."""
        self._socket.close()


class EventListener:
    """The notebook's end: one thread collects the events of all parties in `events` (the latest 200,000).

    `subscribe(callback)` has each new event passed to `callback(event)` in that thread, where it must be quick.
    """

    def __init__(self, token: bytes, host: str = "127.0.0.1"):
        check_loopback(host)
        self._token = check_token(token)
        self.events: deque[dict] = deque(maxlen=KEPT)
        self.refused = 0
        self.errors: list[str] = []
        self._callbacks: list[Callable[[dict], None]] = []
        self._socket = zmq.Context.instance().socket(zmq.PULL)
        self._socket.rcvhwm = QUEUE
        self._socket.maxmsgsize = LONGEST_EVENT
        self._socket.linger = 0
        self._socket.rcvtimeo = 100  # ms; how soon `close` is noticed
        port = self._socket.bind_to_random_port(f"tcp://{host}")
        self.address = f"tcp://{host}:{port}"
        self._closing = threading.Event()
        # Widgets find their cell through context variables, which a new thread does not inherit by itself.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._listen,), name="mpckit events", daemon=True)
        self._thread.start()

    def subscribe(self, callback: Callable[[dict], None]) -> Callable[[], None]:
        """Have `callback(event)` called for each new event; returns the function that ends this."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def renew(self) -> bytes:
        """Begin a run: forget its predecessor's events, and hear only who has the new token, which is returned."""
        self._token = secrets.token_bytes(32)
        self.events.clear()
        return self._token

    def _listen(self):
        while True:
            try:
                parts = self._socket.recv_multipart()
            except zmq.Again:
                if self._closing.is_set():  # only now: what was under way has been heard
                    break
                continue
            if len(parts) != 2 or not hmac.compare_digest(parts[0], self._token):
                self.refused += 1
                continue
            event = json.loads(parts[1])
            self.events.append(event)
            for callback in list(self._callbacks):
                try:
                    callback(event)
                except Exception as error:  # a plot that breaks must not cost the run its other listeners
                    self.errors.append(f"{type(error).__name__}: {error}")
        self._socket.close()

    def close(self):
        """Stop listening, once nothing more comes."""
        self._closing.set()
        self._thread.join(2)
