"""Named randomness: a seed and a label give one stream of masks, the same on every machine.

A label is no access control: whoever holds the seed can expand every label. Each process draws its own root seed
from `secrets`; a seed that all parties share is for tests and transcripts only and is called `insecure_seed`
wherever it appears. A stream shared by two users corrupts results silently, so every use has a label of its own:
"draw/17", "input/3", "mask/5".
"""

import hashlib
import secrets

import torch

from . import kernels
from .kernels.place import placed

SEED_BYTES = 32


def derive(seed: bytes, label: str) -> bytes:
    """A seed for `label` that reveals nothing of `seed` or of its other labels (BLAKE2b, keyed)."""
    return hashlib.blake2b(label.encode(), key=seed, digest_size=SEED_BYTES, person=b"mpckit seed").digest()


def fresh_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


class Stream:
    """AES-128-CTR keystream under a key derived from (seed, label); reading moves on, so no word is given out twice.

    Words are made on `device`, the same on every one.
    """

    def __init__(self, seed: bytes, label: str, device="cpu"):
        key = hashlib.blake2b(label.encode(), key=seed, digest_size=16, person=b"mpckit stream").digest()
        self.key = placed(torch.frombuffer(bytearray(key), dtype=torch.uint8), device)
        self.block, self.label = 0, label

    def words(self, shape) -> torch.Tensor:
        """Uniform int64 words."""
        count = torch.Size(shape).numel()
        blocks = -(-count // 2)
        words = kernels.keystream(self.key, self.block, blocks)
        self.block += blocks
        return words[:count].view(shape)

    def bits(self, shape) -> torch.Tensor:
        """Uniform bits (bool)."""
        count = torch.Size(shape).numel()
        words = self.words((-(-count // 64),))
        return kernels.unpack(words.view(torch.uint8), 1, count).view(shape)


class Streams:
    """Several streams of which as much is read, side by side as one: what the first gives, then the second, …

    What is read is [N, …] with N a multiple of how many they are. ValueError for streams that are not equally far.
    """

    def __init__(self, streams: list[Stream]):
        if len({s.block for s in streams}) != 1:
            raise ValueError("streams side by side have given out equally much before")
        self.key, self.block = torch.stack([s.key for s in streams]), streams[0].block
        self.label = f"{streams[0].label} … {streams[-1].label}"

    def words(self, shape) -> torch.Tensor:
        """Uniform int64 words."""
        return self._words(self._each(shape)).reshape(shape)

    def bits(self, shape) -> torch.Tensor:
        """Uniform bits (bool)."""
        each = self._each(shape)
        words = self._words(-(-each // 64)).contiguous()
        bits = kernels.unpack(words.view(-1).view(torch.uint8), 1, 64 * words.numel())
        return bits.view(len(self.key), -1)[:, :each].reshape(shape)

    def _each(self, shape) -> int:
        if shape[0] % len(self.key):
            raise ValueError(f"{len(self.key)} streams side by side cannot give [{shape[0]}, …]")
        return torch.Size(shape).numel() // len(self.key)

    def _words(self, count: int) -> torch.Tensor:
        blocks = -(-count // 2)
        words = kernels.keystream(self.key, self.block, blocks)
        self.block += blocks
        return words[:, :count]


class MetaStream:
    """What a planner draws from: shapes without values."""

    label = "meta"

    def words(self, shape) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.int64, device="meta")

    def bits(self, shape) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bool, device="meta")
