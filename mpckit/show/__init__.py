"""Plots of what a ledger says and of what parties see. They read reports and events; no layer below knows of them.

by_layer(report), summary(report), timeline(report), what_if(report)    figures of a bill
view_as(image, parties), pictures({title: image}, alt)                  what is seen of a secret
live(team)           a figure that moves while `team.run` is under way
show(figure, alt)    display that survives in a saved notebook, on GitHub and as text
check(answer)        the notebooks' puzzles: right? private? at what price?
"""

from .display import Picture, show
from .figures import by_layer, summary, timeline, what_if
from .live import Live, live
from .puzzle import check
from .views import pictures, view_as

__all__ = [
    "Live", "Picture", "by_layer", "check", "live", "pictures", "show", "summary", "timeline", "view_as", "what_if",
]  # fmt: skip
