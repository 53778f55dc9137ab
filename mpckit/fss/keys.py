"""What the keys of `dpf` and `dcf` share: a party's own root, and the bytes of a batch, checked before they are used.

A batch of N keys is one record: a head of 16 bytes, then N roots, then the corrections level by level (`kernels/ggm`
says how the words lie; all little-endian). A stream of batches bounds memory: slice a record, `key[a:b]`.
"""

import struct

import torch

from .. import kernels

HEAD = struct.Struct("<4sBBBBQ")  # kind, party, bits of the domain, words of payload, bits of a word, keys


def root(party: int, count: int, stream) -> torch.Tensor:
    """A party's own roots [count, 2], from a stream that the other party has not; the control bit is the party.

    With both roots a party would know Δ, and with it alpha.
    """
    blocks = stream.words((count, 2))
    low, high = blocks.unbind(-1)
    return torch.stack(((low & ~1) | party, high), -1)


def check_points(x, bits: int, count: int | None = None, name="x") -> None:
    """ValueError unless x is int64, [N], or [K, N] where `count` keys are given, and bits in 1 … 64."""
    if not isinstance(bits, int) or not 1 <= bits <= 64:
        raise ValueError(f"a domain has 1 to 64 bits, not {bits}")
    if x.dtype != torch.int64:
        raise ValueError(f"{name} must be int64 words, not {x.dtype}")
    if count is None and x.dim() != 1:
        raise ValueError(f"{name} must be [N], one for each key, not {list(x.shape)}: flatten it first")
    if count is not None and (x.dim() not in (1, 2) or x.shape[-1] != count):
        raise ValueError(f"{name} must be [{count}] or [points, {count}] for {count} keys, not {list(x.shape)}")


def check_fields(party: int, **tensors) -> None:
    """ValueError unless the party is 0 or 1 and every tensor is int64 of the shape given with it."""
    if party not in (0, 1):
        raise ValueError(f"keys are for party 0 and party 1, not for {party!r}")
    for name, (tensor, shape) in tensors.items():
        if tensor.dtype != torch.int64 or tuple(tensor.shape) != tuple(shape):
            raise ValueError(f"{name} must be int64 {list(shape)}, not {tensor.dtype} {list(tensor.shape)}")


def check_control(party: int, root: torch.Tensor) -> None:
    """ValueError unless every root's control bit is the party. On a GPU nobody looks: bytes come in on the host, where
    they are seen, and a look there would wait until all that is queued is done.
    """
    if root.device.type == "cpu" and bool(((root[:, 0] & 1) != party).any()):
        raise ValueError(f"a root's control bit is not {party}: these are the other party's keys, or damaged ones")


def head(kind: bytes, party: int, bits: int, words: int, width: int, count: int) -> bytes:
    return HEAD.pack(kind, party, bits, words, width, count)


def read_head(data: bytes, kind: bytes, size, **expected) -> tuple[dict, memoryview]:
    """The head's fields and the bytes behind it. `size(bits, words, width)` is a key's size in bits; `expected` are
    fields that the reader knows: party, bits, words, width, count.

    ValueError where bytes are missing or left over, or a field is not what was expected.
    """
    if len(data) < HEAD.size:
        raise ValueError(f"truncated: keys begin with {HEAD.size} bytes, and these are {len(data)}")
    found, *numbers = HEAD.unpack_from(data)
    if found != kind:
        raise ValueError(f"these are no {kind.decode()} keys: they begin with {found!r}")
    fields = dict(zip(("party", "bits", "words", "width", "count"), numbers))
    for name, value in expected.items():
        if value is not None and fields[name] != value:
            raise ValueError(f"keys with {name} {fields[name]}, where {name} {value} is expected")
    if fields["party"] > 1 or not 1 <= fields["bits"] <= 64 or not 1 <= fields["width"] <= 64 or not fields["words"]:
        raise ValueError(f"no such keys: {', '.join(f'{k} {v}' for k, v in fields.items())}")
    need = HEAD.size + -(-fields["count"] * size(fields["bits"], fields["words"], fields["width"]) // 8)
    if len(data) != need:
        what = "truncated" if len(data) < need else "bytes left over"
        raise ValueError(f"{what}: {fields['count']} keys of {fields['bits']} bits take {need} bytes, not {len(data)}")
    return fields, memoryview(data)[HEAD.size :]


def to_bytes(words: torch.Tensor, width: int = 64) -> bytes:
    return kernels.pack(words.reshape(-1), width).cpu().numpy().tobytes()


def from_bytes(data: memoryview, shape, width: int = 64) -> torch.Tensor:
    """Signed words [*shape], `width` bits each."""
    count = torch.Size(shape).numel()
    if not count:
        return torch.empty(shape, dtype=torch.int64)
    octets = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return kernels.unpack(octets, width, count).to(torch.int64).view(shape)
