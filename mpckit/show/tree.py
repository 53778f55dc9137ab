"""The two trees of a point function, drawn from real keys: where they differ, and how a comparison is read off them."""

from dataclasses import dataclass

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from ..fss import dpf
from ..kernels.ggm import LEAF, LEAF_BITS, control, descend, prg
from .display import Picture
from .theme import COLOURS, GREY, style

DRAWN = range(LEAF_BITS + 1, LEAF_BITS + 6)  # widths in bits: one to five levels of blocks
GAP = 4  # between the trees, in leaf blocks: room for the correction words
CELLS = 1 << LEAF_BITS
SAME, DIFFER, WAY = GREY, COLOURS[3], COLOURS[0]


@dataclass(frozen=True)
class Walk:
    """How both parties read 1{x < alpha} off their trees: lists have an entry for each party."""

    nodes: list[int]  # which of the 2^depth nodes the path visits, by depth
    turns: list[int]  # depths of the nodes whose control bit enters
    entered: list[list[int]]  # those control bits
    side: slice  # of the last leaf block: the cells whose parity enters
    leaf: list[int]  # that parity
    shares: list[int]  # of 1{x < alpha}


class Trees:
    """Both parties' trees of one pair of point-function keys, `bits` wide, of one function (ValueError otherwise).

    blocks[party][depth] is int64 [2^depth, 2]; tables[party] is bool [leaf blocks, 128], the values themselves.
    """

    def __init__(self, keys: tuple[dpf.Key, dpf.Key]):
        self.bits, counts = keys[0].bits, [len(key) for key in keys]
        if [key.party for key in keys] != [0, 1] or counts != [1, 1] or keys[1].bits != self.bits:
            raise ValueError("trees are drawn of the two keys of one function: pass (key[:1], other[:1]) of a batch")
        if self.bits not in DRAWN:
            raise ValueError(
                f"a tree is drawn for {DRAWN[0]} to {DRAWN[-1]} bits, not {self.bits}: below {DRAWN[0]} a key is a "
                "table and has none, above it does not fit the page"
            )
        self.depth, self.cw = self.bits - LEAF_BITS, keys[0].cw
        self.blocks, self.tables = zip(*map(self._grow, keys))
        self.alpha = int((self.tables[0] ^ self.tables[1]).reshape(-1).long().argmax())

    def _grow(self, key):
        levels = [key.root]
        for level in range(self.depth):
            parents = levels[-1].repeat_interleave(2, 0)
            levels.append(descend(parents, -(torch.arange(len(parents)) & 1)[:, None], key.cw[level]))
        leaves = prg(levels[-1], LEAF) ^ (key.cw[-1] & control(levels[-1]))
        cells = (leaves[:, :, None] >> torch.arange(64)) & 1
        return levels, cells.flatten(1).bool()

    def bit(self, party: int, depth: int, node: int) -> int:
        """A node's control bit."""
        return int(self.blocks[party][depth][node, 0]) & 1

    def differ(self, depth: int, node: int) -> bool:
        """Whether the parties' blocks are not the same there."""
        return bool((self.blocks[0][depth][node] != self.blocks[1][depth][node]).any())

    def walk(self, x: int) -> Walk:
        """As `kernels.dpf_parity` walks, step by step; ValueError for an x that is no leaf.   [Grotto]"""
        if not 0 <= x < 1 << self.bits:
            raise ValueError(f"x is one of the {1 << self.bits} leaves, 0 to {(1 << self.bits) - 1}, not {x}")
        nodes = [x >> (self.bits - depth) for depth in range(self.depth + 1)]
        before, turns = 0, []
        for depth in range(self.depth):
            right = nodes[depth + 1] & 1
            if right != before:
                turns.append(depth)
            before = right
        at = x % CELLS
        side = slice(at + 1, CELLS) if before else slice(0, at + 1)
        entered = [[self.bit(party, depth, nodes[depth]) for depth in turns] for party in (0, 1)]
        leaf = [int(self.tables[party][nodes[-1], side].sum()) & 1 for party in (0, 1)]
        shares = [(sum(entered[party]) + leaf[party] + party) & 1 for party in (0, 1)]
        return Walk(nodes, turns, entered, side, leaf, shares)


def trees(keys: tuple[dpf.Key, dpf.Key], x: int) -> Picture:
    """Both parties' trees side by side, the path to alpha, where they differ, and the path to x with its turns.

    keys: of one function, 8 to 12 bits. Below the trees stands the leaf block in which x lies: 128 values, shared.
    """
    grown = Trees(keys)
    figure = canvas(grown.depth)
    draw(figure, grown, x)
    return Picture(figure, words(grown, x))


def words(grown: Trees, x: int) -> str:
    """The figure in words: what a reader of the alt text has, and a test compares."""
    walk, nodes = grown.walk(x), (2 << grown.depth) - 1
    same = sum(not grown.differ(d, n) for d in range(grown.depth + 1) for n in range(1 << d))
    turns = ", ".join(map(str, walk.turns)) or "none"
    parts = "; ".join(
        f"party {p} collects control bits {walk.entered[p]} and leaf parity {walk.leaf[p]}, its share is "
        f"{walk.shares[p]}" for p in (0, 1)
    )  # fmt: skip
    return (
        f"Two trees of {grown.bits}-bit keys with the secret leaf alpha = {grown.alpha}. Of {nodes} blocks {same} are "
        f"the same in both trees; the other {nodes - same} lie on the path to alpha. The path to x = {x} turns at "
        f"depths: {turns}. {parts}. Together {walk.shares[0] ^ walk.shares[1]}: {x} is "
        f"{'' if x < grown.alpha else 'not '}below {grown.alpha}."
    )


# ---- drawing -------------------------------------------------------------------------------------

# the order of the traces: `draw` fills what `canvas` has laid out
EDGES, TO_X, TO_ALPHA, TURNS, EQUAL, APART, WORDS, CELL, SIDE, HERE = range(10)


def canvas(depth: int) -> go.Figure:
    """Empty axes and traces for trees of this depth, so that a widget can draw again without laying out again."""
    figure = make_subplots(2, 1, row_heights=[0.77, 0.23], vertical_spacing=0.14)
    line, quiet = dict(mode="lines", hoverinfo="skip"), dict(showlegend=False)
    node = dict(mode="markers+text", textfont=dict(color="white", size=12), hoverinfo="text")
    for trace in (
        go.Scatter(line=dict(color="rgba(136,136,136,0.45)", width=1), **line, **quiet),
        go.Scatter(line=dict(color=WAY, width=4), name="path to x", **line),
        go.Scatter(line=dict(color=DIFFER, width=2, dash="dot"), name="path to alpha", **line),
        go.Scatter(
            mode="markers", hoverinfo="skip", name="x turns: the control bit enters",
            marker=dict(symbol="circle-open", size=29, color=WAY, line=dict(color=WAY, width=4)),
        ),
        go.Scatter(marker=dict(symbol="circle", size=18, color=SAME), name="same block in both", **node),
        go.Scatter(marker=dict(symbol="square", size=18, color=DIFFER), name="blocks differ", **node),
        go.Scatter(mode="text", textfont=dict(family="monospace", size=12, color=GREY), hoverinfo="text", **quiet),
    ):  # fmt: skip
        figure.add_trace(trace, 1, 1)
    figure.add_trace(
        go.Heatmap(
            colorscale=[[0, "rgba(136,136,136,0.12)"], [0.5, GREY], [1, DIFFER]], zmin=0, zmax=2, showscale=False,
            xgap=1, ygap=3, hovertemplate="x = %{x}, %{y}: %{text}<extra></extra>",
        ), 2, 1,
    )  # fmt: skip
    strip = dict(hoverinfo="skip", showlegend=False, cliponaxis=False)
    figure.add_trace(go.Scatter(mode="lines", line=dict(color=WAY, width=6), **strip), 2, 1)
    figure.add_trace(go.Scatter(mode="markers", marker=dict(symbol="triangle-down", size=13, color=WAY), **strip), 2, 1)
    style(figure, height=610, margin=dict(l=60, r=10, t=85, b=45), hovermode="closest")
    figure.update_layout(legend=dict(y=0.325, yanchor="top", x=0.5, xanchor="center", itemclick=False))
    figure.update_layout(title=dict(font=dict(size=14, color=GREY), x=0.01, xanchor="left", y=0.965, yanchor="top"))
    names = ["root", *(f"depth {d}" for d in range(1, depth)), "leaves"]
    width = 2 * (1 << depth) + GAP
    figure.update_xaxes(visible=False, range=[-0.8, width - 0.2], fixedrange=True, row=1)
    figure.update_yaxes(
        range=[depth + 0.45, -0.75], tickvals=list(range(depth + 1)), ticktext=names, fixedrange=True,
        showgrid=False, zeroline=False, row=1,
    )  # fmt: skip
    for party in (0, 1):
        figure.add_annotation(
            x=_across(depth, party, 0, 0), y=-0.6, text=f"<b>party {party}</b>", showarrow=False, font=dict(color=GREY)
        )
    figure.update_xaxes(showgrid=False, zeroline=False, fixedrange=True, row=2)
    figure.update_yaxes(
        range=[2.5, -1.4], tickvals=[0, 1, 2], ticktext=["party 0", "party 1", "xor"], fixedrange=True,
        showgrid=False, zeroline=False, row=2,
    )  # fmt: skip
    return figure


def draw(figure: go.Figure, grown: Trees, x: int) -> None:
    """Fill the traces of `canvas`."""
    walk, depth, data = grown.walk(x), grown.depth, figure.data
    pairs = [(p, d, n) for p in (0, 1) for d in range(depth + 1) for n in range(1 << d)]
    to_alpha = [grown.alpha >> (grown.bits - d) for d in range(depth + 1)]

    _lines(data[EDGES], depth, [(p, d, n) for p, d, n in pairs if d])
    for trace, nodes in ((data[TO_ALPHA], to_alpha), (data[TO_X], walk.nodes)):
        _lines(trace, depth, [(p, d, nodes[d]) for p in (0, 1) for d in range(1, depth + 1)])
    turns = [(p, d, walk.nodes[d]) for p in (0, 1) for d in walk.turns]
    _place(data[TURNS], depth, turns)
    for trace, differ in ((data[EQUAL], False), (data[APART], True)):
        some = [at for at in pairs if grown.differ(*at[1:]) == differ]
        _place(trace, depth, some)
        trace.text = [str(grown.bit(*at)) for at in some]
        trace.customdata = some
        trace.hovertext = [_describe(grown, *at) for at in some]
    data[WORDS].x = [(_across(depth, 0, 0, 0) + _across(depth, 1, 0, 0)) / 2] * (depth + 1)
    data[WORDS].y = [d + 0.5 for d in range(depth)] + [depth + 0.1]
    data[WORDS].text = [f"⊕ {_hex(block)[:6]}…" for block in grown.cw[:, 0]]
    data[WORDS].hovertext = [
        f"correction word of {'the leaves' if d == depth else f'level {d}'}: {_hex(block)}<br>in both keys; added "
        "where the control bit is 1" for d, block in enumerate(grown.cw[:, 0])
    ]  # fmt: skip

    leaf, (left, right) = walk.nodes[-1], (table[walk.nodes[-1]].long() for table in grown.tables)
    start = leaf * CELLS
    cells = torch.stack((left, right, 2 * (left ^ right)))
    data[CELL].x, data[CELL].y = list(range(start, start + CELLS)), [0, 1, 2]
    data[CELL].z, data[CELL].text = cells.tolist(), (cells > 0).long().tolist()
    data[SIDE].x = [start + walk.side.start - 0.5, start + walk.side.stop - 0.5]
    data[SIDE].y = [-0.85, -0.85]
    data[HERE].x, data[HERE].y = [x], [-1.1]
    figure.update_xaxes(
        title_text=f"values in leaf block {leaf}; ▼ x, and the line: the cells whose parity enters",
        range=[start - 1, start + CELLS], tickvals=[start + k for k in (0, 32, 64, 96, 127)], row=2,
    )  # fmt: skip
    shares = "<br>".join(_sum(walk, p) for p in (0, 1))
    told = f"together {walk.shares[0] ^ walk.shares[1]}: x {'<' if x < grown.alpha else '≥'} alpha"
    figure.layout.title.text = f"alpha = {grown.alpha}, x = {x}; {told}<br>{shares}"


def _sum(walk, party):
    bits = " ⊕ ".join(map(str, walk.entered[party])) or "no turn"
    flip = ", flipped by party 1 ⊕ 1" if party else ""
    return f"party {party}: turns {bits}, leaf ⊕ {walk.leaf[party]}{flip} = {walk.shares[party]}"


def _across(depth, party, level, node):
    """Where a node stands, in leaf blocks from the left."""
    return (node + 0.5) * (1 << depth - level) - 0.5 + party * ((1 << depth) + GAP)


def _place(trace, depth, nodes):
    trace.x, trace.y = [_across(depth, *at) for at in nodes], [at[1] for at in nodes]


def _lines(trace, depth, nodes):
    """From each node up to its parent."""
    x, y = [], []
    for p, d, n in nodes:
        x += [_across(depth, p, d, n), _across(depth, p, d - 1, n >> 1), None]
        y += [d, d - 1, None]
    trace.x, trace.y = x, y


def _hex(block):
    low, high = (int(word) & (1 << 64) - 1 for word in block)
    return f"{high:016x}{low:016x}"


def _describe(grown, party, depth, node):
    both = [_hex(grown.blocks[p][depth][node]) for p in (0, 1)]
    first = node << (grown.bits - depth)
    last = first + (1 << grown.bits - depth) - 1
    here = "the same block in both trees" if both[0] == both[1] else f"the blocks differ by {_delta(*both)}"
    return (
        f"x = {first} … {last}<br>party {party}: {both[party]}<br>control bit {grown.bit(party, depth, node)}<br>{here}"
    )


def _delta(a, b):
    return f"{int(a, 16) ^ int(b, 16):032x}"
