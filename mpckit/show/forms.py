"""Key bytes against rounds: the same ReLU dealt as digits, as keys of a point and as keys of a threshold."""

from functools import cache
from typing import NamedTuple

import torch
from plotly.subplots import make_subplots

from ..protocols import gates
from ..runtime.meter import Link
from ..runtime.round import HEADER_BYTES
from ..runtime.session import Session
from .crossing import winners
from .display import Picture
from .theme import COLOURS, DASHES, FAINT, GREY, style

FORMS = {"digits": "tables of digits (bits)", "dpf": "keys of a point (DPF)", "dcf": "keys of a threshold (DCF)"}
WIDTHS = tuple(range(8, 65, 8))
SAMPLE = 256  # ReLUs in one measured session
RATES = {"10 Mbit/s": 1e7, "100 Mbit/s": 1e8, "1 Gbit/s": 1e9, "10 Gbit/s": 1e10}
RTTS = [10 ** (k / 10 - 4) for k in range(31)]  # 0.1 ms to 100 ms


class Bill(NamedTuple):
    """What one ReLU costs: rounds, bytes sent by a party, bytes from the dealer to the party that gets most."""

    rounds: int
    online: float
    offline: float

    def seconds(self, count: int, link: Link) -> float:
        """`count` of them in the same rounds, where what is dealt comes over the same kind of line."""
        return link.seconds(self.rounds, count * (self.online + self.offline))


@cache
def bill(form: str, bits: int) -> Bill:
    """As on the report of a session that runs SAMPLE of them, of `bits` bits on the ring of 64."""
    with Session(2) as session:
        x = session.share(torch.zeros(SAMPLE), owner=0)
        before = session.report()
        session.run(gates.relu, x, bits, form)
        after = session.report()
    rounds = after.rounds() - before.rounds()
    online = (after.sent() - before.sent() - rounds * HEADER_BYTES) / SAMPLE
    return Bill(rounds, online, (after.offline_bytes - before.offline_bytes) / SAMPLE)


def forms(count: int = 1000, bits: int = 40, widths: tuple[int, ...] = WIDTHS) -> Picture:
    """Left: bytes dealt for one ReLU, by width. Right: seconds for `count` of `bits` bits, if they come over the link.

    A slider moves the link's bandwidth. No arithmetic is counted, so that the figure is the same on every machine.
    Raises ValueError for widths that the ring of 64 bits has not, and for no ReLU at all.
    """
    for width in (bits, *widths):
        if not 2 <= width <= 64:
            raise ValueError(f"a ReLU is compared on 2 to 64 bits, not on {width}")
    if count < 1:
        raise ValueError(f"the seconds of {count} ReLUs: there is one at least")
    figure = make_subplots(1, 2, horizontal_spacing=0.12)
    for (form, name), colour, dash in zip(FORMS.items(), COLOURS[:2] + COLOURS[3:], DASHES):
        bills = [bill(form, width) for width in widths]
        look = dict(mode="lines+markers", line=dict(color=colour, dash=dash, width=2.5), legendgroup=form)
        figure.add_scatter(
            x=widths, y=[b.offline for b in bills], name=f"{name}, {_rounds(bills)}",
            hovertemplate="%{x} bits: %{y:.4s}B<extra></extra>", row=1, col=1, **look,
        )  # fmt: skip
        figure.add_scatter(
            x=[rtt * 1e3 for rtt in RTTS], hovertemplate="%{x:.3g} ms: %{y:.3g} s<extra>" + form + "</extra>",
            showlegend=False, row=1, col=2, **look | dict(mode="lines"),
        )  # fmt: skip
    steps, told = [], []
    for name, rate in RATES.items():
        curves = [[bill(form, bits).seconds(count, Link("", rtt, rate / 8)) for rtt in RTTS] for form in FORMS]
        told.append(f"at {name}: {_winners(count, bits, rate / 8)}")
        title = f"Fastest, by round trip, {told[-1]}"
        steps.append(dict(label=name, method="update", args=[{"y": curves}, {"title.text": title}, [1, 3, 5]]))
    start = 1
    for trace, y in zip(figure.data[1::2], steps[start]["args"][0]["y"]):
        trace.y = y
    _lay_out(figure, steps, start, f"seconds for {count} ReLUs, dealt now")
    figure.update_layout(title_text=f"Fastest, by round trip, {told[start]}")
    prices = "; ".join(
        f"{name} {_rounds([b])}, {b.offline:.0f} B dealt, {b.online:.1f} B sent"
        for name, b in ((name, bill(form, bits)) for form, name in FORMS.items())
    )
    return Picture(
        figure,
        f"Curves: bytes dealt against width, and seconds against round-trip time. One ReLU of {bits} bits: {prices}. "
        f"Fastest for {count} of them by round trip, if what is dealt travels too, {'; '.join(told)}.",
    )


def _lay_out(figure, steps, start, title):
    slider = dict(
        active=start, steps=steps, x=0.58, len=0.42, y=-0.2, yanchor="top", pad=dict(t=0), font=dict(color=GREY),
        currentvalue=dict(prefix="bandwidth ", font=dict(color=GREY)), bgcolor=FAINT, bordercolor=GREY,
    )  # fmt: skip
    style(figure, height=480, sliders=[slider], margin=dict(l=70, r=20, t=100, b=130))
    figure.update_layout(title=dict(font=dict(size=14, color=GREY), x=0.01, xanchor="left", y=0.97, yanchor="top"))
    figure.update_layout(legend=dict(y=1.04, yanchor="bottom", x=0))
    figure.update_xaxes(title_text="bits compared", tickvals=list(WIDTHS), row=1, col=1)
    figure.update_yaxes(title_text="dealt for one ReLU", type="log", row=1, col=1)
    figure.update_yaxes(tickvals=[10, 100, 1000], ticktext=["10 B", "100 B", "1 kB"], row=1, col=1)
    figure.update_xaxes(title_text="round-trip time, ms", type="log", dtick=1, row=1, col=2)
    figure.update_yaxes(title_text=title, type="log", dtick=1, row=1, col=2)


def _winners(count: int, bits: int, bandwidth: float) -> str:
    """Which form is fastest, from the shortest round trip to the longest."""
    link = Link("", 0.0, bandwidth)
    return winners({form: (bill(form, bits).rounds, bill(form, bits).seconds(count, link)) for form in FORMS})


def _rounds(bills: list[Bill]) -> str:
    counts = sorted({b.rounds for b in bills})
    return f"{' to '.join(map(str, counts))} round{'s' * (counts[-1] > 1)}"
