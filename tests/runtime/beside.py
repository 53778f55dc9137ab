"""What parties do side by side, in threads of the test's process."""

import threading

from mpckit.runtime.dealing import DealerClient, serve
from mpckit.runtime.doors import listen
from mpckit.runtime.sockets import PeerError

TOKEN = b"\7" * 32  # of the runs in tests of the wire


def in_threads(jobs, timeout=60):
    """The results of `jobs` run side by side; an exception counts as a result."""
    results = [None] * len(jobs)

    def work(i):
        try:
            results[i] = jobs[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    assert not any(thread.is_alive() for thread in threads), "a party waits for ever"
    return results


def admitting(callers, timeout=5.0, tls=None):
    """Party 0 opens its door: (the door, the thread that lets `callers` in, who came or {"error": …})."""
    door, result = listen(tls=tls), {}

    def accept():
        try:
            result.update(door.accept(0, callers, TOKEN, timeout))
        except PeerError as error:
            result["error"] = error

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    return door, thread, result


def dealing_for(parties, answer=b"", **options):
    """A dealer that gives everybody this answer: (its thread, a line for each party, [how it ended, if it failed])."""
    door, outcome = listen(), []

    def work():
        try:
            serve(door, TOKEN, range(parties), lambda *_: ({}, answer), **options)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, [DealerClient(door.address, p, TOKEN) for p in range(parties)], outcome
