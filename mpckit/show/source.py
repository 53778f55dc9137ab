"""The source behind a `yield`: one line, or the lines around it."""

import linecache
import os

from ..runtime.transcript import PACKAGE, Place


def source_line(place: Place) -> str:
    """The statement's first line as it stands; empty where the source is not at hand."""
    return _line(place, place.line).strip()


def excerpt(place: Place, around: int = 2) -> str:
    """The lines around the `yield`, numbered, with a mark on it."""
    lines = [f"{place}"]
    for number in range(max(1, place.line - around), place.line + around + 1):
        text = _line(place, number)
        if text or number == place.line:
            lines.append(f"{'→' if number == place.line else ' '} {number:4d}  {text.rstrip()}")
    return "\n".join(lines)


def _line(place, number):
    file = os.path.join(PACKAGE, place.file)
    return linecache.getline(file if os.path.exists(file) else place.origin, number)
