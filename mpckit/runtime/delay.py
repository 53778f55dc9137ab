"""A link that is felt: on one machine, a round takes as long as it would on another network."""

import time

# Seconds before the end from which on the clock is watched: a sleep takes a little longer than asked. No more than
# that, as who waits for a real link leaves the core to others, and is woken late where they have it.
SPIN = 150e-6


def hold(until: float):
    """Return at `until` (time.perf_counter), or at once if that has passed."""
    if (rest := until - time.perf_counter() - SPIN) > 0:
        time.sleep(rest)
    while time.perf_counter() < until:
        time.sleep(0)  # let others run: the peers are on the same cores
