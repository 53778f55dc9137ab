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
        self.key, self.block, self.label = torch.frombuffer(bytearray(key), dtype=torch.uint8).to(device), 0, label

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


class MetaStream:
    """What a planner draws from: shapes without values."""

    label = "meta"

    def words(self, shape) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.int64, device="meta")

    def bits(self, shape) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.bool, device="meta")
