"""When Ctrl-C reaches a party: in its program, but neither in the midst of an import nor while it cleans up.

An interrupted import leaves a library half there, and one of native code may end the process. An interrupted farewell
leaves the others without the reason. Whoever interrupts does so again and again, so what is not heard is not lost.
"""

import signal
import sys
import threading
from contextlib import contextmanager
from types import FrameType

UNHEARD = 4  # interrupts, of the eight that are sent before the process is killed, that do not stop a cleaning up
IMPORT = "<frozen importlib._bootstrap>"


@contextmanager
def interruptible():
    """SIGINT raises KeyboardInterrupt in the block, at a good moment, and is ignored from its end on.

    The one who called, ipykernel for one, sets what SIGINT does in between two jobs. Does nothing outside the main
    thread, which alone hears signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    unheard, closed = 0, False

    def heard(number: int, frame: FrameType | None):
        nonlocal unheard
        if closed or _importing(frame):
            return
        if sys.exception() is not None and unheard < UNHEARD:  # something has ended the program already
            unheard += 1
            return
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, heard)
        yield
    finally:
        closed = True  # no call: nothing can strike before it
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORT:
            return True
        frame = frame.f_back
    return False
