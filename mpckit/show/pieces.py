"""A secret that moves, and its pieces, which do not say so."""

import torch
from plotly.subplots import make_subplots

from ..ring import Ring
from ..share import AShare, join, split
from ..stream import Stream, fresh_seed
from .display import Picture
from .theme import COLOURS, FAINT, GREY, style

BINS = 16
SHARINGS = 4096  # of each secret: one piece alone has no histogram
SMALL = Ring(8, 4)  # -8 to 7.94 in steps of 1/16: a secret that moves is seen to


def shares(x=5.0, parties: int = 2, ring: Ring = SMALL, steps: int = 11, insecure_seed: int | None = None) -> Picture:
    """Drag the secret from -x to x: above one sharing of it, below the histogram of each piece over 4,096 of them.

    `x` is a number, or a tensor (all of whose entries move and are counted). The slider works in a saved page too.
    Raises RangeError for a secret that the ring does not hold, ValueError for none and for less than two parties.
    """
    x = torch.as_tensor(x, dtype=torch.float64)
    if parties < 2:
        raise ValueError(f"a secret has two pieces or more, not {parties}: shares(x, parties=2)")
    if not x.numel():
        raise ValueError(f"there is no number in a tensor of shape {list(x.shape)}: give one that moves, shares(5.0)")
    seed = fresh_seed() if insecure_seed is None else insecure_seed.to_bytes(32, "little")
    scales = torch.linspace(-1, 1, max(2, steps), dtype=torch.float64).tolist()
    states = [_state((x * scale).round(decimals=12) + 0.0, parties, ring, seed, k) for k, scale in enumerate(scales)]
    figure = make_subplots(
        1, parties + 1, shared_yaxes=True, horizontal_spacing=0.03,
        subplot_titles=["the secret", *(f"piece of party {p}" for p in range(parties))],
    )  # fmt: skip
    first = states[-1]
    for column, counts in enumerate(first["counts"], 1):
        figure.add_bar(
            y=counts, row=1, col=column, marker_color=COLOURS[(column - 1) % len(COLOURS)], showlegend=False,
            hovertemplate="%{y}<extra></extra>",
        )  # fmt: skip
    moves = [
        dict(label=state["label"], method="update", args=[{"y": state["counts"]}, {"title.text": state["words"]}])
        for state in states
    ]
    slider = dict(
        active=len(states) - 1, steps=moves, currentvalue=dict(prefix="secret ", font=dict(color=GREY)),
        font=dict(color=GREY), bgcolor=FAINT, bordercolor=FAINT, pad=dict(t=30), tickcolor=GREY,
    )  # fmt: skip
    title = dict(text=first["words"], font=dict(size=14, color=GREY), x=0.01, xanchor="left", y=0.97, yanchor="top")
    style(figure, height=400, sliders=[slider], title=title, bargap=0.08, margin=dict(l=60, r=20, t=80, b=40))
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, title_text="smallest … largest possible")
    figure.update_yaxes(type="log", range=[0, 1.1 * torch.tensor(float(SHARINGS * x.numel())).log10().item()], dtick=1)
    figure.update_yaxes(title_text="how often, of all sharings", col=1)
    low = min(min(counts) for state in states for counts in state["counts"][1:])
    high = max(max(counts) for state in states for counts in state["counts"][1:])
    alt = (
        f"A slider moves the secret through {', '.join(s['label'] for s in states)}. Its own bar jumps; the histograms "
        f"of the {parties} pieces stay flat: {low} to {high} in each of {BINS} ranges, whatever the secret. "
        f"{first['words']}."
    )
    return Picture(figure, alt)


def _state(secret, parties, ring, seed, k):
    """One position of the slider."""
    encoded = ring.encode(secret.reshape(-1))
    many = encoded.expand(SHARINGS, -1).contiguous()
    pieces = split(many, [Stream(seed, f"shares/{k}/{p}") for p in range(parties - 1)])
    together = ring.decode(join([AShare(piece, p, ring) for p, piece in enumerate(pieces)]))
    if not torch.equal(together, ring.decode(many)):
        raise RuntimeError("the pieces do not add up to the secret; this is a fault of mpckit, please report it")
    label = f"{secret.item():g}" if secret.numel() == 1 else f"{secret.reshape(-1)[0].item():.3g}, …"
    one = " + ".join(str(_reduced(piece.reshape(-1)[0], ring).item()) for piece in pieces)
    return {
        "label": label,
        "words": f"{label} is {one}, modulo {2**ring.bits}, in units of 1/{2**ring.frac}",
        "counts": [_histogram(values, ring) for values in (many, *pieces)],
    }


def _histogram(words, ring):
    half = 2.0 ** (ring.bits - 1)
    return torch.histc(_reduced(words, ring).double(), BINS, -half, half).int().tolist()


def _reduced(words, ring):
    """The representative from -2^(bits-1) up: what lies above is noise that the ring ignores."""
    return words << (64 - ring.bits) >> (64 - ring.bits)
