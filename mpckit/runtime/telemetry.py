"""Events from the parties to the notebook: small, never waited for, and heard only from parties of this run.

A party must not slow down because somebody looks at its progress: `send` puts an event into a bounded buffer and
returns, and a thread of its own sends what is there. An event that does not fit is dropped and counted, and the count
travels with the next one. Events say shapes, counts and times, and what a program tells of its results
(`Session.tell`); shares and other data have no business here.
"""

import contextvars
import hmac
import json
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Callable

import zmq

from .meter import Event, sayable
from .sockets import check_loopback, check_token

QUEUE = 20_000  # events that a party holds back
EVERY = 0.1  # seconds between two looks at the buffer: each costs a busy core more than what it sends
MESSAGES = 200  # under way; each has up to BATCH events
BATCH = 500  # events in a message
KEPT = 20_000  # events kept by the notebook
LONGEST_MESSAGE = 1 << 20  # bytes


class EventSender:
    """A party's end: `send(**event)` and `hear(event)` return at once.

    `dropped` counts the events that did not fit.
    """

    def __init__(self, address: str, party: int, token: bytes):
        self.party, self.dropped = party, 0
        self._token = check_token(token)
        self._socket = zmq.Context.instance().socket(zmq.PUSH)
        self._socket.sndhwm = MESSAGES
        self._socket.linger = 500  # ms; a notebook that is gone must not hold up the end of a run
        self._socket.connect(address)
        self._buffer: deque[Event | dict] = deque()
        self._closed = False
        self._bell = threading.Lock()  # wakes the thread; not an Event, which Ctrl-C can leave locked
        self._bell.acquire()
        mine = weakref.ref(self), self._bell, self._socket
        self._thread = threading.Thread(target=_pump, args=mine, name="mpckit events", daemon=True)
        self._thread.start()

    def send(self, **event):
        """Send `event`, a flat dictionary; for the "end" of a run there is always room.

        Raises TypeError for what JSON cannot say.
        """
        self.hear(sayable(event), event.get("phase") == "end")

    def hear(self, event: Event | dict, spare: int = 0):
        """Send an event of the meter, whose listener this is."""
        if len(self._buffer) < QUEUE + spare:
            self._buffer.append(event)
        else:
            self.dropped += 1

    def _flush(self):
        while self._buffer:
            self._send([self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))])

    def _send(self, batch: list):
        # An Event goes as the list of its fields: naming them in each costs a party more than all the rest.
        text = json.dumps({"party": self.party, "dropped": self.dropped, "events": batch}).encode()
        if len(text) > LONGEST_MESSAGE and len(batch) > 1:  # one that is too long must not take the others with it
            self._send(batch[: len(batch) // 2])
            self._send(batch[len(batch) // 2 :])
            return
        try:
            if len(text) > LONGEST_MESSAGE:
                raise zmq.Again
            self._socket.send_multipart([self._token, text], zmq.NOBLOCK)
        except zmq.Again:
            self.dropped += len(batch)

    def close(self):
        """Leave; what is in the buffer still goes out, for half a second. May be called again."""
        if not self._closed:
            self._closed = True
            self._bell.release()
        self._thread.join(0.5)


def _pump(sender: weakref.ref, bell: threading.Lock, socket: zmq.Socket):
    """Send what is in the buffer, until the sender is closed, or forgotten as its maker was interrupted."""
    closed = False
    while not closed and (there := sender()) is not None:
        closed = there._closed  # first: what came before it is in the buffer
        there._flush()
        del there
        if not closed:
            bell.acquire(timeout=EVERY)
    socket.close()


def _read(text: bytes) -> tuple[int, int, list[dict]]:
    """What a message says: the party, how many of its events were dropped, others. ValueError for what is none."""
    try:
        message = json.loads(text)
        party, dropped, events = (message[name] for name in ("party", "dropped", "events"))
        events = [dict(zip(Event._fields, e, strict=True) if isinstance(e, list) else e.items()) for e in events]
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError("no events") from error
    if type(party) is not int or type(dropped) is not int:
        raise ValueError("events of nobody")
    return party, dropped, events


class EventListener:
    """The notebook's end: one thread collects the events of all parties in `events` (the latest 20,000).

    `subscribe(callback)` has each new event passed to `callback(event)` in that thread, where it must be quick.
    """

    def __init__(self, token: bytes, host: str = "127.0.0.1"):
        check_loopback(host)
        self._token = check_token(token)
        self.events: deque[dict] = deque(maxlen=KEPT)
        self.dropped: dict[int, int] = {}  # party → events of this run that never arrived
        self.refused = 0  # messages of strangers, and those that cannot be read
        self.errors: list[str] = []
        self._callbacks: list[Callable[[dict], None]] = []
        self._socket = zmq.Context.instance().socket(zmq.PULL)
        self._socket.rcvhwm = MESSAGES
        self._socket.maxmsgsize = LONGEST_MESSAGE
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
        self.dropped.clear()
        return self._token

    def tell(self, **event):
        """Pass an event of the notebook's own to the callbacks, in this thread; its values need not be JSON."""
        self._pass_on(event)

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
            try:
                party, dropped, events = _read(parts[1])
            except ValueError:  # from a party of this run: what it said is lost, and nothing that others say
                self.refused += 1
                continue
            self.dropped[party] = dropped
            for event in events:
                event = {"party": party, "dropped": dropped, "phase": None, **event}  # all who listen ask which it is
                self._pass_on(event)
                self.events.append(event)  # now: who sees it here may rely on all who listen having taken it in
        self._socket.close()

    def _pass_on(self, event):
        for callback in list(self._callbacks):
            try:
                callback(event)
            except Exception as error:  # a plot that breaks must not cost the run its other listeners
                self.errors.append(f"{type(error).__name__}: {error}")

    def close(self):
        """Stop listening, once nothing more comes."""
        self._closing.set()
        self._thread.join(2)
