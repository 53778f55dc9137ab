"""Plots of what a session's ledger says, and of what parties see. They read reports and events; no layer below knows of them.

    by_layer(report) · timeline(report) · what_if(report)      figures of a bill
    view_as(value, parties)                                    what each party holds of a secret
    live(team)                                                 one figure that moves while `team.run` is under way
    show(figure, alt)                                          display that survives in a saved notebook, on GitHub and as text
"""

from .display import show
from .figures import by_layer, timeline, view_as, what_if
from .live import live

__all__ = ["by_layer", "live", "show", "timeline", "view_as", "what_if"]
