"""Ctrl-C at a chosen moment."""

import contextvars
import signal


def interrupted(after: float, function, *args) -> bool:
    """Whether Ctrl-C, so many seconds after its begin, has met the function.

    In a context of its own: where Ctrl-C meets the first instant of `Session.__exit__`, Python leaves that session
    open (see there), which is no business of the tests that follow.
    """
    running = True

    def strike(number, frame):
        if running:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        contextvars.copy_context().run(function, *args)
        return False
    except KeyboardInterrupt:
        return True
    finally:
        running = False  # first: it must not strike what follows
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
