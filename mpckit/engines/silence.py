"""What a program prints while it is planned is not shown: the parties will say it, once."""

import sys
import threading
from collections.abc import Callable


class Silence:
    """Stands for stdout and swallows what one thread prints, until it is `over`; others print on."""

    def __init__(self, under):
        self.under, self.over, self._thread = under, False, threading.get_ident()

    def write(self, text: str) -> int:
        swallowed = not self.over and threading.get_ident() == self._thread
        return len(text) if swallowed else self.under.write(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self.under, name)


def silently(function: Callable, *args, **kwargs):
    """`function(*args, **kwargs)`, of which nothing is heard; several threads may do so at the same time."""
    silence = Silence(sys.stdout)
    try:
        sys.stdout = silence
        return function(*args, **kwargs)
    finally:
        # No call, as in a context manager's exit: Ctrl-C cannot come before it.
        silence.over = True
        while sys.stdout.__class__ is Silence and sys.stdout.over:  # those of other threads may lie on this one
            sys.stdout = sys.stdout.under
