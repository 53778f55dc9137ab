"""Integers modulo 2^bits on int64 tensors, and the fixed-point code that carries real numbers into them.

An int64 tensor holds a ring element in any of its representatives modulo 2^64: addition and multiplication of int64
wrap on their own, and 2^bits divides 2^64, so intermediate results need no reduction. `reduce` gives the signed
representative in [-2^(bits-1), 2^(bits-1)); it is taken where a value leaves the ring: on the wire and when it is
decoded.
"""

from dataclasses import dataclass, replace

import torch


class RangeError(OverflowError):
    """A number does not fit the ring's fixed-point range."""


@dataclass(frozen=True)
class Ring:
    """Z_{2^bits}, signed; `frac` of the bits stand behind the binary point.

    The unit travels with the value: `frac` adds under multiplication, and `truncate` brings it home.
    """

    bits: int = 64
    frac: int = 16

    def __post_init__(self):
        if not 1 <= self.bits <= 64:
            raise ValueError(f"a ring has 1 to 64 bits, not {self.bits}")
        if not 0 <= self.frac <= 62:
            raise ValueError(f"a ring has 0 to 62 fraction bits, not {self.frac}")

    def at(self, frac: int) -> "Ring":
        """The same ring with another unit."""
        return self if frac == self.frac else replace(self, frac=frac)

    def encode(self, x) -> torch.Tensor:
        """Numbers → int64 ring elements round(x · 2^frac), ties to even.

        Raises RangeError, which names the first value that does not fit, and TypeError for complex numbers.
        """
        x = torch.as_tensor(x)
        if x.is_meta:
            return torch.empty(x.shape, dtype=torch.int64, device="meta")
        if x.is_complex():
            raise TypeError(f"the ring has no complex numbers (got {x.dtype}); encode the real and imaginary parts")
        top = self.bits - 1 - self.frac
        if x.is_floating_point():
            scaled = torch.round(x.double() * 2.0**self.frac)
            # written so that NaN, which compares as false, fails it too
            fits = (scaled >= -(2.0 ** (self.bits - 1))) & (scaled < 2.0 ** (self.bits - 1))
            encoded = scaled
        else:
            encoded = x.to(torch.int64)
            low, high = (-(1 << top), (1 << top) - 1) if top >= 0 else (0, 0)
            fits = (encoded >= low) & (encoded <= high)
            if x.dtype == torch.uint64:  # what int64 does not hold has come out negative
                fits &= encoded >= 0
            encoded = encoded << self.frac
        if not bool(fits.all()):
            raise RangeError(
                f"{x[~fits].reshape(-1)[0].item()} does not fit {self}: its range is "
                f"[-2^{top}, 2^{top} - 2^-{self.frac}]; scale the data, or take a ring with fewer `frac` bits"
            )
        return encoded.to(torch.int64)

    def decode(self, v: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Ring elements → reduce(v) / 2^frac, in `dtype` (default: torch's default).

        An integer dtype gives ⌊reduce(v) / 2^frac⌋.
        """
        dtype = dtype or torch.get_default_dtype()
        v = self.reduce(v)
        if not dtype.is_floating_point:
            return (v >> self.frac).to(dtype)
        return (v.double() / 2.0**self.frac).to(dtype)

    def reduce(self, v: torch.Tensor) -> torch.Tensor:
        """The signed representative modulo 2^bits."""
        spare = 64 - self.bits
        return v if spare == 0 else (v << spare) >> spare

    def split_msb(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(sign bit as bool, the low bits-1 bits as non-negative int64)."""
        low = self.bits - 1
        mask = (1 << low) - 1
        return ((v >> low) & 1).bool(), v & mask

    def random(self, shape, stream) -> torch.Tensor:
        """Uniform ring elements from a `Stream`."""
        return self.reduce(stream.words(shape))

    def __str__(self):
        return f"a {self.bits}-bit ring with {self.frac} fraction bits"


def signed(value: int, bits: int = 64) -> int:
    """A Python integer's signed representative modulo 2^bits, so that torch takes it as int64."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def lsr(v: torch.Tensor, k: int) -> torch.Tensor:
    """Logical right shift of 64-bit words: torch's `>>` on int64 copies the sign bit down."""
    return v if k == 0 else (v >> k) & ((1 << (64 - k)) - 1)


def ones(bits: int) -> int:
    """The low `bits` bits, as an int64."""
    return -1 if bits == 64 else (1 << bits) - 1
