"""Two progress bars, offline and online: HTML in a notebook, one line in a terminal, nothing where nobody looks."""

import sys
import time

PERIOD = 0.1  # seconds between two drawings: JupyterLab does not keep up with more
WIDTH = 24


def in_notebook() -> bool:
    """Whether a Jupyter kernel shows what we display."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class Progress:
    """Bars for phases that are `done` of `total`; `unit` says of what."""

    def __init__(self, show: bool = True):
        self._state: dict[str, tuple[int, int, str]] = {}
        self._drawn, self._handle = 0.0, None
        self._notebook = show and in_notebook()
        self._terminal = show and not self._notebook and sys.stderr.isatty()

    def update(self, phase: str, done: int, total: int, unit: str):
        """Move the bar of a phase; it is drawn at most ten times a second."""
        self._state[phase] = (done, total, unit)
        if time.monotonic() - self._drawn > PERIOD:
            self.draw()

    def text(self) -> str:
        """Both bars as one line."""
        parts = []
        for phase, (done, total, unit) in self._state.items():
            full = WIDTH * done // max(total, 1)
            parts.append(f"{phase} {'█' * min(full, WIDTH)}{'░' * max(WIDTH - full, 0)} {done}/{total} {unit}")
        return "   ".join(parts)

    def html(self) -> str:
        """Both bars for a notebook; `progress` elements follow its theme and are read aloud."""
        rows = [
            f"<tr><td>{phase}</td>"
            f"<td><progress max='{max(total, 1)}' value='{done}' aria-label='{phase}'></progress></td>"
            f"<td>{done} / {total} {unit}</td></tr>"
            for phase, (done, total, unit) in self._state.items()
        ]
        return f"<table>{''.join(rows)}</table>"

    def draw(self):
        """Show the bars as they are now."""
        self._drawn = time.monotonic()
        if self._notebook and self._state:
            from IPython.display import display

            data = {"text/html": self.html(), "text/plain": self.text()}
            if self._handle is None:
                self._handle = display(data, raw=True, display_id=True)
            else:
                self._handle.update(data, raw=True)
        elif self._terminal:
            print(f"\r\033[K{self.text()}", end="", file=sys.stderr, flush=True)

    def close(self):
        """Draw a last time, and end the line."""
        self.draw()
        if self._terminal and self._state:
            print(file=sys.stderr)
