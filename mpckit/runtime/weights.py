"""Where the public part of weights waits: on the device up to a bound, beyond it in host memory.

What waits on the host comes when a layer asks, and what the layer after it will ask for sets out at once, on a stream
of its own. The host, which goes on before the device has computed, is held back to one layer before it: so no more than
three are there, the one that is computed with, the next, and the one after.
"""

import weakref
from collections.abc import Callable
from functools import partial

import torch

from ..protocols.kept import Kept, KeptShare
from .shared import Shared
from .units import size


class Weights:
    """Holds tensors for a session on `device`, `memory` bytes of them there."""

    def __init__(self, memory: int, device: torch.device):
        self.memory, self.device = memory, device
        self.held = self.fetched = 0  # bytes that stay on the device, and that came to it so far
        self._hosts = weakref.WeakValueDictionary()  # number → tensor in host memory
        self._there: dict[int, tuple] = {}  # number → (tensor on the device, when it has come)
        self._after, self._last, self._count = {}, None, 0  # which one was asked for after which
        self._asked = None  # when what was queued before the last one was asked for is done
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def keep(self, value: Shared, dealer) -> Shared:
        """The same fixed value, of which only the public part stays; `dealer` expands the masks' pieces anew."""
        view, opened = value.shares[0].fixed.view, self.hold(value.shares[0].fixed.opened)

        def kept(share):
            mask = partial(dealer.mask, share.party, view.number, view.shape)
            return KeptShare(share.data, share.party, share.ring, Kept(view, mask, opened))

        return Shared(tuple(map(kept, value.shares)))

    def hold(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        """What gives the tensor back. MemoryError where the host has no room for it."""
        if self.device.type == "cpu" or self.held + tensor.nbytes <= self.memory:
            self.held += tensor.nbytes
            return lambda: tensor
        try:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self._copies is not None)
        except RuntimeError as error:  # memory that a card reads by itself is there, or is refused
            raise MemoryError(
                f"no room in host memory for weights of {size(tensor.nbytes)} ({str(error).splitlines()[0]}): give the "
                f"session a higher weight_memory, so that more than {size(self.memory)} stay on {self.device}"
            ) from error
        host.copy_(tensor)
        number, self._count = self._count, self._count + 1
        self._hosts[number] = host
        return partial(self._fetch, number, host)

    def _fetch(self, number: int, host: torch.Tensor) -> torch.Tensor:
        if number != self._last:
            self._after[self._last], self._last = number, number
            self._keep_back()
            came = self._there.get(number)
            self._there.clear()  # what was used before goes first
            self._there[number] = came or self._sent(host)
            following = self._after.get(number, number + 1)
            if following != number and (host := self._hosts.get(following)) is not None:
                self._there[following] = self._sent(host)
        tensor, came = self._there[number]
        if came is not None:
            now = torch.cuda.current_stream(self.device)
            now.wait_event(came)
            tensor.record_stream(now)  # its memory is not given out again before what is queued now is done
        return tensor

    def _keep_back(self):
        """Wait until the device is at the layer before. Where it is far behind, memory that it still reads is not given
        out again, and each layer asked for would take new memory.
        """
        if self._copies is not None:
            before, self._asked = self._asked, torch.cuda.current_stream(self.device).record_event()
            if before is not None:
                before.synchronize()

    def _sent(self, host):
        self.fetched += host.nbytes
        if self._copies is None:
            return host.to(self.device), None
        with torch.cuda.stream(self._copies):
            return host.to(self.device, non_blocking=True), self._copies.record_event()
