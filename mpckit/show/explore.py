"""The trees of a point function under the reader's hand: a click or a slider moves alpha or x."""

import ipywidgets
import plotly.graph_objects as go
import torch

from ..fss import dpf
from ..kernels.ggm import LEAF_BITS
from ..stream import Stream, fresh_seed
from .display import CONFIG
from .tree import APART, CELL, EQUAL, Trees, canvas, draw, words
from .twin import view

MOVES = {"x, the public point": "x", "alpha, the secret leaf": "alpha"}


class Explorer:
    """What `explore` returns: a widget that shows itself as the last line of a cell, or by `display`.

    `alpha` and `x` may also be set from code; `keys` are those that are drawn.
    """

    def __init__(self, alpha: int, x: int, bits: int, insecure_seed: int | None = None):
        self._bits, self._seed, self._made_for = bits, insecure_seed, None
        top = (1 << bits) - 1
        if not 0 <= alpha <= top or not 0 <= x <= top:
            raise ValueError(f"alpha and x have {bits} bits, 0 to {top}, not {alpha} and {x}")
        wide = dict(min=0, max=top, layout=ipywidgets.Layout(width="45%"))
        self._alpha = ipywidgets.IntSlider(alpha, description="alpha", **wide)
        self._x = ipywidgets.IntSlider(x, description="x", **wide)
        self._moves = ipywidgets.ToggleButtons(options=MOVES, description="a click moves")
        self._moves.style.button_width, self._moves.style.description_width = "170px", "initial"
        self._make_keys()
        whole = canvas(bits - LEAF_BITS)  # drawn before it is a widget: no message then follows on its creation
        draw(whole, self._trees, x)
        self.figure = go.FigureWidget(whole.update_layout(autosize=True))
        self.figure._config = self.figure._config | CONFIG
        for place in (EQUAL, APART):
            self.figure.data[place].on_click(self._node_clicked)
        self.figure.data[CELL].on_click(self._cell_clicked)
        for slider in (self._alpha, self._x):
            slider.observe(self._redraw, "value")
        self.widget = ipywidgets.VBox([self._moves, ipywidgets.HBox([self._alpha, self._x]), self.figure])

    alpha = property(lambda self: self._alpha.value, lambda self, value: setattr(self._alpha, "value", value))
    x = property(lambda self: self._x.value, lambda self, value: setattr(self._x, "value", value))

    def _make_keys(self):
        seeds = [fresh_seed() if self._seed is None else bytes([self._seed & 255, p]) * 16 for p in (0, 1)]
        self.keys = dpf.gen(torch.tensor([self.alpha]), self._bits, [Stream(seed, "roots") for seed in seeds])
        self._trees, self._made_for = Trees(self.keys), self.alpha

    def _redraw(self, _=None):
        if self._made_for != self.alpha:
            self._make_keys()
        with self.figure.batch_update():
            draw(self.figure, self._trees, self.x)

    def _node_clicked(self, trace, points, _state):
        """A node fixes the upper bits of what moves; the lower stay."""
        slider = self._moving()
        for index in points.point_inds:
            _, depth, node = map(int, trace.customdata[index])
            below = self._bits - depth
            slider.value = (node << below) | (slider.value & (1 << below) - 1)

    def _cell_clicked(self, _trace, points, _state):
        for x in points.xs:
            self._moving().value = int(x)

    def _moving(self):
        return self._alpha if self._moves.value == "alpha" else self._x

    @property
    def alt(self) -> str:
        """What is drawn, in words."""
        return words(self._trees, self.x)

    def _repr_mimebundle_(self, **kwargs):
        return view(self.widget, "Two trees to click on: run the cell to move them. A still figure follows.")


def explore(alpha: int, x: int, bits: int = 11, insecure_seed: int | None = None) -> Explorer:
    """The trees of `show.trees` for a leaf and a point that the reader moves; needs a running kernel.

    Every alpha gets new roots; with `insecure_seed` the roots stay, and what changes are the correction words alone.
    """
    return Explorer(alpha, x, bits, insecure_seed)
