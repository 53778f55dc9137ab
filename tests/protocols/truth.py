"""Functions against torch: where to look, how far off they may be, and in which suites."""

import re

import torch

from mpckit.protocols import functions
from mpckit.ring import Ring
from mpckit.runtime.session import Session

ULP = 2.0**-16
MODES = {  # options of a session: the suite, and how it truncates
    "bits": {"suite": "bits", "truncation": "stochastic"},
    "bits exact": {"suite": "bits", "truncation": "exact"},
    "fss": {"suite": "fss", "truncation": "exact"},
    "fss stochastic": {"suite": "fss", "truncation": "stochastic"},
}
WHOLE = ("bits", "fss")  # both suites as they come


def evaluate(name, *inputs, mode="bits", parties=2, ring=None, plain=()):
    """The function's value in float64, its rounds and bytes; `plain` are public arguments after the shares."""
    ring = ring or Ring()
    session = Session(parties, ring=ring, insecure_seed=1, **MODES[mode])
    shares = [session.share(x, k % parties) for k, x in enumerate(inputs)]
    session.meter.ledger.clear()
    out = session.run(getattr(functions, name), session.suite, *shares, *plain)
    rounds, sent = session.meter.total().rounds, session.meter.sent()
    assert out.shares[0].ring == ring
    return ring.decode(session.open(out), torch.float64), rounds, sent


def stated(name) -> list[int]:
    """The constant numbers of rounds in a docstring's price, which is that of "bits"."""
    price = getattr(functions, name).__doc__.split("Price:")[1]
    return [int(n) for n in re.findall(r"(?:^|; )\s*(\d+) rounds?", price)]


# ---- where to look -------------------------------------------------------------------------------


def signed(reach=40.0, n=8000):
    """A dense grid, and numbers of every size up to the end of the domain, with both signs."""
    sizes = 2.0 ** torch.linspace(-16, 45.9, 500, dtype=torch.float64)
    edges = torch.tensor([0.0, ULP, -ULP, 2.0**46 - 1, -(2.0**46) + 1], dtype=torch.float64)
    return on_grid(torch.cat((torch.linspace(-reach, reach, n, dtype=torch.float64), sizes, -sizes, edges)))


def positive(n=8000):
    """All small ring elements, then every size up to 2^46, with the neighbours of the powers of two."""
    sizes = 2.0 ** torch.linspace(-16, 45.99, n, dtype=torch.float64)
    powers = 2.0 ** torch.arange(-15, 46, dtype=torch.float64)
    return on_grid(torch.cat((torch.arange(1, 1300) * ULP, sizes, powers, powers - ULP, powers + ULP)))


def on_grid(x):
    return torch.round(x / ULP) * ULP


# ---- how far off ---------------------------------------------------------------------------------


def within(relative, ulps):
    return lambda y: (relative * y.abs()).clamp(min=ulps * ULP)


def at_most(bound):
    return lambda y: torch.full_like(y, bound)


wide = within(3e-4, 4)
