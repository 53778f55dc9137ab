"""A widget, and below it a still twin, which is what a reader sees where the widget does not live.

Without a kernel JupyterLab finds no widget in a saved page, and says so instead of showing what else the output has. So
the twin is an output of its own; where the widget is on the page, a rule hides the output after it.
"""

from collections.abc import Callable

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

from .display import Picture

CLASS = "mpckit-widget"
RULE = f"<style>.jp-OutputArea-child:has(.{CLASS}) + .jp-OutputArea-child {{ display: none }}</style>"
WORDS = "A figure that moves while the cell runs. Still, it is the one that follows."


def view(widget: widgets.Widget, words: str) -> dict:
    """A widget as a display's data, with words for where it does not live."""
    bundle = widget._repr_mimebundle_()
    return dict(bundle[0] if isinstance(bundle, tuple) else bundle) | {"text/plain": words}


class Twin:
    """Shows `widget` with what `still()` draws below it; `update` draws that anew. Without IPython it shows nothing."""

    def __init__(self, widget: widgets.Widget, still: Callable[[], Picture]):
        self._widget, self._still, self._handle = widget, still, None

    def show(self):
        """Display both here."""
        if get_ipython() is None:
            return
        box = widgets.VBox([self._widget, widgets.HTML(RULE, layout=widgets.Layout(display="none"))])
        box.add_class(CLASS)
        display(view(box, WORDS), raw=True)
        self._handle = display(self._still().bundle(), raw=True, display_id=True)

    def update(self):
        """Draw the twin anew, once the widget has come to rest."""
        if self._handle is not None:
            self._handle.update(self._still().bundle(), raw=True)
