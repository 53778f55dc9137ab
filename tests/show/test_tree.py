"""The trees: what is drawn is what the kernels compute, and a click is a new point or a new pair of keys."""

from types import SimpleNamespace

import pytest
import torch

from mpckit.fss import dpf
from mpckit.show import explore, trees
from mpckit.show.display import Picture
from mpckit.show.theme import DASHES
from mpckit.show.tree import APART, CELL, EQUAL, SIDE, TO_ALPHA, TO_X, TURNS, Trees
from mpckit.stream import Stream


def pair(alpha, bits):
    return dpf.gen(torch.tensor([alpha]), bits, [Stream(bytes([p]) * 32, "roots") for p in (0, 1)])


@pytest.mark.parametrize("bits", [8, 9, 11])
def test_every_walk_is_what_the_kernel_says(bits):
    for alpha in {0, 1, 127, 128, 200, (1 << bits) - 1}:
        keys = pair(alpha, bits)
        grown, x = Trees(keys), torch.arange(1 << bits)
        assert grown.alpha == alpha
        shares = torch.tensor([grown.walk(k).shares for k in x.tolist()])
        for party in (0, 1):
            assert torch.equal(shares[:, party].bool(), dpf.less_than(keys[party], x[:, None])[:, 0])
            assert torch.equal(grown.tables[party].reshape(-1), dpf.eval(keys[party], x[:, None])[:, 0])


def test_blocks_differ_on_the_path_and_nowhere_else():
    grown = Trees(pair(1234, 11))
    delta = grown.blocks[0][0] ^ grown.blocks[1][0]
    for depth in range(5):
        off = [node for node in range(1 << depth) if not grown.differ(depth, node)]
        on = 1234 >> (11 - depth)
        assert off == [node for node in range(1 << depth) if node != on]
        assert torch.equal(grown.blocks[0][depth][on] ^ grown.blocks[1][depth][on], delta[0])
        assert grown.bit(0, depth, on) != grown.bit(1, depth, on)


def test_the_figure_draws_the_walk():
    figure = trees(pair(1234, 11), 777)
    data, walk = figure.data, Trees(pair(1234, 11)).walk(777)
    assert isinstance(figure, Picture)
    assert [len(data[k].x) for k in (EQUAL, APART, TURNS)] == [2 * 26, 2 * 5, 2 * len(walk.turns)]
    assert list(data[TURNS].y) == walk.turns * 2
    for trace in (data[EQUAL], data[APART]):
        assert all(f"control bit {bit}" in text for bit, text in zip(trace.text, trace.hovertext))
    assert list(data[CELL].x) == list(range(768, 896)) and not any(data[CELL].z[2])  # alpha is in another block
    assert tuple(data[SIDE].x) == ((767.5, 777.5) if walk.side.start == 0 else (777.5, 895.5))
    assert "turns at depths: 1, 3." in figure.alt and "Together 1: 777 is below 1234." in figure.alt
    # shapes and dashes, not colour alone
    assert data[EQUAL].marker.symbol != data[APART].marker.symbol
    assert data[TO_ALPHA].line.dash in DASHES and data[TO_X].line.dash is None
    assert figure.layout.paper_bgcolor == "rgba(0,0,0,0)"


def test_the_leaf_lights_up_in_its_own_block():
    strip = trees(pair(1234, 11), 1200).data[CELL]
    assert [x for x, z in zip(strip.x, strip.z[2]) if z] == [1234]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="8 to 12 bits, not 7"):
        trees(pair(3, 7), 1)
    with pytest.raises(ValueError, match="8 to 12 bits, not 40"):
        trees(pair(3, 40), 1)
    left, right = pair(3, 8)
    with pytest.raises(ValueError, match="two keys of one function"):
        trees((right, left), 1)
    for x in (-1, 256):
        with pytest.raises(ValueError, match=f"one of the 256 leaves, 0 to 255, not {x}"):
            trees((left, right), x)


# Clicks


def click(figure, trace, **point):
    """What plotly tells the kernel when the reader clicks."""
    (callback,) = figure.data[trace]._click_callbacks
    callback(figure.data[trace], SimpleNamespace(**point), None)


def node(figure, depth, index):
    """(trace, place in it) of party 1's node."""
    for trace in (EQUAL, APART):
        for place, at in enumerate(figure.data[trace].customdata):
            if tuple(at) == (1, depth, index):
                return trace, place
    raise AssertionError("no such node")


def test_a_click_moves_x_and_keeps_its_lower_bits():
    tool = explore(1234, 777, insecure_seed=1)
    keys = tool.keys
    trace, place = node(tool.figure, 4, 9)
    click(tool.figure, trace, point_inds=[place])
    assert (tool.alpha, tool.x) == (1234, 9 * 128 + 777 % 128) and tool.keys is keys
    click(tool.figure, CELL, xs=[9 * 128 + 5], point_inds=[[0, 5]])
    assert tool.x == 9 * 128 + 5
    assert tool.alt == trees(tool.keys, tool.x).alt
    assert tool.figure.layout.title.text == trees(tool.keys, tool.x).layout.title.text


def test_a_click_on_alpha_makes_new_keys():
    tool = explore(1234, 777, insecure_seed=1)
    old = tool.keys
    tool._moves.value = "alpha"
    trace, place = node(tool.figure, 1, 0)
    click(tool.figure, trace, point_inds=[place])
    assert (tool.alpha, tool.x) == (1234 % 1024, 777)
    assert Trees(tool.keys).alpha == tool.alpha
    assert torch.equal(old[0].root, tool.keys[0].root) and not torch.equal(old[0].cw, tool.keys[0].cw)
    tool.alpha = 5
    assert Trees(tool.keys).alpha == 5 and "alpha = 5," in tool.figure.layout.title.text


def test_fresh_roots_unless_asked_otherwise():
    assert not torch.equal(explore(1, 2).keys[0].root, explore(1, 2).keys[0].root)
    with pytest.raises(ValueError, match="0 to 2047"):
        explore(2048, 0)


def test_it_has_words_where_there_is_no_widget():
    assert "run the cell" in explore(1, 2)._repr_mimebundle_()["text/plain"]
