"""Suites by name, and which one suits a session."""

from .bit_suite import BitSuite
from .fss_suite import FssSuite
from .suite import Suite

SUITES = {suite.name: suite for suite in (BitSuite, FssSuite)}
NEAR = 1e-3  # seconds of a round trip below which rounds cost less than keys


def suite_of(suite, parties: int, link, truncation: str | None = None, range_bits: int | None = None):
    """(the suite, why "auto" chose it): `suite` is None, a name of `SUITES`, "auto", or a `Suite`, taken as is.

    "auto" knows the number of parties and the link; a plan knows the program too, and chooses better
    (`offline/plan.py`). Raises ValueError for a suite that does not exist, or is not for so many parties, and for
    options beside a `Suite`, which has its own.
    """
    why = ""
    if suite == "auto":
        suite, why = choose(parties, link)
    if isinstance(suite, Suite):
        if truncation or range_bits:
            raise ValueError(f"give truncation and range_bits to the suite itself: {type(suite).__name__}(…)")
        chosen = suite
    elif suite is None or suite in SUITES:
        options = {"range_bits": range_bits} | ({"truncation": truncation} if truncation else {})
        chosen = SUITES[suite or "bits"](**options)
    else:
        raise ValueError(f"suite {suite!r} is none of {', '.join(map(repr, SUITES))} or 'auto'")
    if chosen.parties not in (None, parties):
        raise ValueError(f"suite {chosen.name!r} is for {chosen.parties} parties, not {parties}: take 'bits'")
    return chosen, why


def choose(parties: int, link) -> tuple[str, str]:
    """(name, reason), where the program is not known."""
    if parties != 2:
        return "bits", f"{parties} parties: keys of function secret sharing are for two"
    if link.rtt < NEAR:
        return "bits", f"a round trip of {link.rtt * 1e3:g} ms costs less than the keys that would save it"
    return "fss", f"a round trip of {link.rtt * 1e3:g} ms: half the rounds are worth their keys"
