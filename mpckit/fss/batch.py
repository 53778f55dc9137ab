"""Keys as a gate is dealt them: of a whole tensor, in chunks, for one use."""

from collections.abc import Callable
from dataclasses import fields, replace

import torch

from ..once import OneTime, ReuseError
from . import dcf, dpf

AT_ONCE = 1 << 20  # keys that are evaluated together on a GPU, which one chunk would leave idle


class Keys(OneTime):
    """One party's keys of N functions; the first evaluation spends them. Raises ReuseError at a second one.

    They lie in chunks that `load` fetches when their turn comes, so that not all of them need be in memory.
    """

    def __init__(self, party: int, chunks: list[tuple[int, Callable]]):
        self.party, self._count = party, sum(count for count, _ in chunks)
        self._held = [chunks]  # (how many keys, load); taken out by one call, so that of two threads only one has them

    @staticmethod
    def of(key) -> "Keys":
        return Keys(key.party, [(len(key), lambda: key)])

    @staticmethod
    def join(some: "list[Keys]") -> "Keys":
        """All of them as one; the parts are spent."""
        return Keys(some[0].party, [chunk for keys in some for chunk in keys._spend()])

    def __len__(self):
        return self._count if self._held else 0

    def less_than(self, x: torch.Tensor) -> torch.Tensor:
        """Shares of 1{x < alpha}: x [K, N] → bool [K, N], K points on each key."""
        return self._evaluate(dpf.less_than, x)

    def equal(self, x: torch.Tensor) -> torch.Tensor:
        """Shares of 1{x = alpha}: x [K, N] → bool [K, N]."""
        return self._evaluate(dpf.eval, x)

    def look_up(self, index: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
        """Shares of u·tables[:, index - alpha], u the keys' sign: index [N], tables [T, 2^bits] → int64 [T, N].

        All values of a key are spelt out, 2^bits bits, but not kept.
        """
        return self._evaluate(lambda key, x: dpf.look_up(key, x, tables), index)

    def at_least(self, x_hat: torch.Tensor, sign: torch.Tensor, thresholds, width: int = 64, by: int = 0):
        """Shares of 1{z ≥ c}, where the keys hide the low bits of r, `sign` [N] is a share of the bit above them, and
        z + r = (x_hat mod 2^width) >> by is public: x_hat [N] → bool [len(thresholds), N].
        """
        return self._evaluate(lambda key, x, above: dpf.at_least(key, x, above, thresholds, width, by), x_hat, sign)

    def payload(self, x: torch.Tensor) -> torch.Tensor:
        """Additive shares of beta·1{x < alpha}: x [N] → [words, N]."""
        return self._evaluate(dcf.eval, x)

    def _evaluate(self, evaluate, *points):
        """`evaluate(key, *points)` chunk by chunk, side by side along the last dimension."""
        whole, start, total = None, 0, self._count
        chunks = self._spend()[::-1]
        while chunks:
            key = _next(chunks)
            count = len(key)
            values = evaluate(key, *(x.narrow(-1, start, count) for x in points))
            del key  # what has been evaluated goes, before the next is fetched
            if count == total:
                return values
            if whole is None:  # values of each chunk for themselves would leave memory in fragments
                whole = values.new_empty((*values.shape[:-1], total))
            whole[..., start : start + count] = values
            start += count
        return whole

    def _spend(self):
        self.stay_home()
        try:
            return self._held.pop()  # spent before they are used: also if evaluating them fails
        except IndexError:
            raise ReuseError(
                "these keys have been used: each hides its point for one opened value only; draw others"
            ) from None


def _next(chunks: list):
    """The last of the chunks' keys, taken out; on a GPU those before it as well, up to `AT_ONCE`."""
    keys = [chunks.pop()[1]()]
    count = len(keys[0])
    while chunks and keys[0].root.device.type != "cpu" and count + chunks[-1][0] <= AT_ONCE:
        keys.append(chunks.pop()[1]())
        count += len(keys[-1])
    return keys[0] if len(keys) == 1 else joined(keys)


def joined(keys: list):
    """Keys of one kind side by side: in each of their tensors [..., N, 2] the last dimension but one counts them."""
    names = [f.name for f in fields(keys[0]) if isinstance(getattr(keys[0], f.name), torch.Tensor)]
    return replace(keys[0], **{name: torch.cat([getattr(key, name) for key in keys], -2) for name in names})
