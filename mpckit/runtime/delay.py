"""A link that is felt: on one machine, a round takes as long as it would on another network."""

import time

SPIN = 2e-3  # seconds before the end from which on the clock is watched: a sleep may take so much longer than asked


def hold(until: float):
    """Return at `until` (time.perf_counter), or at once if that has passed."""
    if (rest := until - time.perf_counter() - SPIN) > 0:
        time.sleep(rest)
    while time.perf_counter() < until:
        time.sleep(0)  # let others run: the peers are on the same cores
