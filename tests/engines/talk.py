"""What parties say in tests of engines, and how long that took."""

import sys
import time

import cloudpickle

# As with functions of a notebook: engines cannot import this.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def speak(seat, payload, step=0):
    """One round with everybody."""
    peers = [q for q in range(seat.parties) if q != seat.party]
    size = memoryview(payload).nbytes
    return seat.wire.exchange(step, "Open", "a test", {q: (1, payload) for q in peers}, {q: (1, size) for q in peers})


def seconds(start):
    """Since `start`, of `time.perf_counter()`."""
    return time.perf_counter() - start
