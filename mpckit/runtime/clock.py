"""Seconds that a device computes: at once on a CPU, and later on a GPU, which works while the host goes on.

since = clock.now(); …; span = since, clock.now()
clock.owe(booked, {0: span})      # booked({0: seconds}), once they are known
"""

import time
from collections import deque

import torch


class Clock:
    """A moment is when `device` has done what it was given before. `ahead` says whether the host goes on without it."""

    def __init__(self, device: torch.device):
        self.device, self.ahead, self._owed = device, device.type == "cuda", deque()

    def now(self):
        if not self.ahead:
            return time.perf_counter()
        moment = torch.cuda.Event(enable_timing=True)
        moment.record(torch.cuda.current_stream(self.device))
        return moment

    def seconds(self, spans: dict) -> dict:
        """{name: seconds} of {name: (moment, moment)}; waits for the device."""
        return {name: self._between(*span) for name, span in spans.items()}

    def owe(self, booked, spans: dict):
        """Have `booked(seconds(spans))` called when they are over."""
        self._owed.append((booked, spans))
        while self._owed and all(end.query() for _, end in self._owed[0][1].values()):  # what a look shows, no wait
            self._pay()

    def settle(self):
        """Book all that is owed; waits for the device."""
        while self._owed:
            self._pay()

    def _pay(self):
        booked, spans = self._owed.popleft()
        booked(self.seconds(spans))

    def _between(self, since, until) -> float:
        if not self.ahead:
            return until - since
        until.synchronize()
        return since.elapsed_time(until) / 1000
