"""A widget and its still twin are two outputs, and the twin is what a page without a kernel has."""

import ipywidgets as widgets
import plotly.graph_objects as go
import pytest

from mpckit.show import twin
from mpckit.show.display import Picture

VIEW, PLOTLY = "application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json"


class Page:
    """Takes what is displayed, as a notebook does."""

    def __init__(self):
        self.outputs = []

    def display(self, data, raw, display_id=False):
        self.outputs.append(data)
        return Handle(self, len(self.outputs) - 1) if display_id else None


class Handle:
    def __init__(self, page, number):
        self.page, self.number = page, number

    def update(self, data, raw):
        self.page.outputs[self.number] = data


@pytest.fixture
def page(monkeypatch):
    page = Page()
    monkeypatch.setattr(twin, "display", page.display)
    monkeypatch.setattr(twin, "get_ipython", lambda: page)
    return page


def test_two_outputs_of_which_the_second_stays(page):
    height, widget = [1], widgets.HTML("alive")
    both = twin.Twin(widget, lambda: Picture(go.Figure(go.Bar(y=height)), f"a bar of {height[0]}"))
    both.update()  # nobody has asked to see it
    both.show()
    live, still = page.outputs
    assert VIEW in live and PLOTLY not in live and live["text/plain"] == twin.WORDS
    assert VIEW not in still and still["text/plain"] == "a bar of 1"
    height[0] = 2
    both.update()
    assert page.outputs[1]["text/plain"] == "a bar of 2" and page.outputs[1][PLOTLY]["data"][0]["y"] == [2]


def test_the_rule_travels_with_the_widget(page):
    """Where the widget is drawn, what follows its output is hidden; where it is not, the rule is not there either."""
    twin.Twin(widgets.HTML("alive"), lambda: Picture(go.Figure(), "a figure")).show()
    model = page.outputs[0][VIEW]["model_id"]
    box = widgets.widgets.widget._instances[model]
    assert twin.CLASS in box._dom_classes and box.children[0].value == "alive"
    assert f":has(.{twin.CLASS}) + .jp-OutputArea-child" in box.children[1].value


def test_without_a_notebook_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(twin, "get_ipython", lambda: None)  # other tests may have made one
    monkeypatch.setattr(twin, "display", lambda *_, **__: pytest.fail("shown"))
    twin.Twin(widgets.HTML(), lambda: Picture(go.Figure(), "a figure")).show()
