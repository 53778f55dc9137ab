"""Work that Ctrl-C does not reach: it is done in a thread of its own, and who waits for it may be struck at any moment.

KeyboardInterrupt meets whatever line the main thread is at. Between taking a lock and the `try` that gives it back, it
leaves the lock taken: that of a future, say, and ipyparallel's thread waits for ever to set its result. So the main
thread takes no lock that another one needs. It puts work into a queue, looks at plain attributes, and when it is struck
asks the work to end, and waits until it has.
"""

import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import closing
from queue import SimpleQueue

TICK = 0.05  # seconds between two looks at work that goes on


class Work:
    """One call in the shelter. `asked`: how often it has been asked to end; the second time means "at once"."""

    def __init__(self, function: Callable[["Work"], object]):
        self._function = function
        self._bell = threading.Lock()  # wakes the one who waits, and protects nothing
        self._bell.acquire()
        self._value, self._error = None, None
        self.asked, self.over = 0, False

    def do(self):
        """Do it, unless that has been done."""
        if self.over:
            return
        try:
            self._value = self._function(self)
        except BaseException as error:
            self._error = error  # for the one who waits
        self._function = None  # what it holds may go
        self.over = True
        self._bell.release()

    def look(self):
        """Wait for a moment, or until it is over."""
        self._bell.acquire(timeout=TICK)

    def result(self):
        if self._error is not None:
            raise self._error
        return self._value


class Shelter:
    """A thread that does one piece of work after the other."""

    def __init__(self, name: str):
        self._queue = SimpleQueue()  # written in C: an entry is in it or is not, whenever Ctrl-C strikes
        self.close = weakref.finalize(self, self._queue.put, None)  # ends the thread; may be called again
        threading.Thread(target=_serve, args=(self._queue,), name=name, daemon=True).start()

    def steps(self, function: Callable[[Work], object]) -> Generator[None, None, object]:
        """What `function(work)` returns or raises; yields again and again until it is over.

        To close the generator, or an exception in it, asks the work to end (`work.asked`) and waits until it has.
        """
        if not self.close.alive:
            raise RuntimeError("nothing is done any more in a shelter that is closed")
        work, struck = Work(function), None
        try:
            self._queue.put(work)
            while not work.over:
                work.look()
                yield
        finally:
            while not work.over:
                try:
                    work.asked += 1
                    self._queue.put(work)  # again: Ctrl-C may have come before the first time
                    while not work.over:
                        work.look()
                except KeyboardInterrupt as again:  # be quick
                    struck = again
            if struck is not None:
                raise struck
        return work.result()

    def do(self, function: Callable[[Work], object]):
        """What `function(work)` returns or raises."""
        return drained(self.steps(function))


def _serve(queue: SimpleQueue):
    for work in iter(queue.get, None):
        work.do()
        del work  # what it returned belongs to the one who waited


class Steps:
    """Iterates over a generator; afterwards `value` is what it returned (None before)."""

    def __init__(self, generator: Generator):
        self._generator, self.value = generator, None

    def __iter__(self):
        with closing(self._generator):
            self.value = yield from self._generator


def answered(generator: Generator, answer: Callable) -> Generator:
    """The same, but what it yields is `answer()`, each time asked anew."""
    steps = Steps(generator)
    with closing(iter(steps)) as each:
        for _ in each:
            yield answer()
    return steps.value


def drained(generator: Generator, tick: Callable[[], None] = lambda: None):
    """What the generator returns; `tick()` is called each time that it yields. It is closed whatever happens."""
    steps = Steps(generator)
    with closing(iter(steps)) as each:
        for _ in each:
            tick()
    return steps.value
