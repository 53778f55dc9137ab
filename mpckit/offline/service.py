"""The dealer's side of its engine: what a party may ask, and what it is answered."""

import functools

import psutil
import torch

from ..kernels.dry import Dry
from ..once import OneTime, ReuseError
from ..runtime import device as devices
from ..stream import SEED_BYTES
from .dealer import Dealing, MetaDealing, from_json, pack_corrections, tensors_of
from .source import stream_names

SMALL = 64 << 20  # bytes of pieces that fit anywhere
MANY = 1 << 12  # parts in one answer
NONSENSE = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


class DealerService(OneTime):
    """The dealer's side: knows the parties' dealing seeds, sees no input, answers one request at a time."""

    def __init__(self, parties: int):
        self.parties, self.seeds, self.device = parties, {}, torch.device("cpu")
        self._next = dict.fromkeys(range(parties), (0, 0))  # (serial, part): what a party may ask for, or a later one

    def __call__(self, party: int, kind: str, request: dict):
        """(JSON answer, payload) for one request; raises ValueError for what a party may not ask."""
        if kind == "seed" and party not in self.seeds:
            self.seeds[party] = _seed(request)
            if request.get("device") == "cuda":  # parties that compute on GPUs: deal on one where this machine has it
                self.device = devices.nearest(self.parties)
            return {}, b""
        if kind != "deal" or (party != self.parties - 1 and self.parties > 2):
            raise ValueError(
                f"party {party} asked its dealer for {kind!r}; parties ask for one correlation at a time, and of more "
                "than two parties only the last one asks"
            )
        if len(self.seeds) < self.parties:
            raise ValueError(f"party {party} asked for a correlation before all {self.parties} parties sent their seed")
        serial, part, count = _number(request, "serial"), _number(request, "part", 0), _number(request, "count", 1)
        if not 1 <= count <= MANY:
            raise ValueError(f"1 to {MANY} parts are dealt side by side, not {count}")
        text = request.get("correlation")
        if not isinstance(text, str):
            raise ValueError(f"party {party} asked its dealer for a correlation, and sent {text!r:.200} as its text")
        return {}, self.corrections(party, serial, part, text, count)

    def corrections(self, party: int, serial: int, part: int, text: str, count: int = 1):
        """What travels to this party of the correlation in `text`, packed (uint8); of `count` such parts side by side.

        Raises ReuseError for an old serial, ValueError for what is no correlation, and for one that is larger than this
        machine or should come in parts.
        """
        at = (serial, part)
        if at < self._next[party]:
            raise ReuseError(f"draw {serial} has been dealt already; the next is {self._next[party][0]}")
        self._next[party] = (serial, part + count)
        correlation = from_json(text)
        self._check(correlation, count)
        several = correlation.together(count)
        names = stream_names(serial, part, correlation, count)
        d = Dealing(dict(sorted(self.seeds.items())), names, self.device)
        try:
            several.deal(d)
        except NONSENSE as error:  # what shapes alone did not tell
            raise _refusal(correlation, error) from error
        return devices.to_host(pack_corrections(d.corrections, party, self.parties)).numpy()

    def _check(self, correlation, count):
        size = count * _bytes(correlation, self.parties)
        if size > SMALL and size > (room := psutil.virtual_memory().available // 2):
            raise ValueError(
                f"{correlation!r:.200} takes {size / 1e9:.3g} GB; the dealer has {room / 1e9:.3g} GB for it"
            )


@functools.lru_cache(1024)
def _bytes(correlation, parties: int) -> int:
    """Of all its pieces, found out on shapes. ValueError for fields that make no sense, and for what comes in parts."""
    try:
        whole = next(iter(correlation.parts())) is correlation
        with Dry():
            handles = correlation.deal(MetaDealing(dict.fromkeys(range(parties)), "shapes")) if whole else ()
    except NONSENSE as error:
        raise _refusal(correlation, error) from error
    if not whole:
        raise ValueError(f"comes in parts, one after the other: {correlation!r:.200}")
    return sum(tensor.nbytes for handle in handles for piece in handle.pieces for tensor in tensors_of(piece))


def _refusal(correlation, error: Exception) -> ValueError:
    return ValueError(f"cannot be dealt: {correlation!r:.200} ({f'{error} '.splitlines()[0].strip()})")


def _seed(request) -> bytes:
    text = request.get("seed") if isinstance(request, dict) else None
    if not isinstance(text, str) or len(text) != 2 * SEED_BYTES or not all(c in "0123456789abcdef" for c in text):
        raise ValueError(f"a party's seed for dealing has {SEED_BYTES} bytes in hexadecimal digits")
    return bytes.fromhex(text)


def _number(request, field, default=None) -> int:
    value = request.get(field, default) if isinstance(request, dict) else None
    if type(value) is not int or not 0 <= value < 1 << 63:  # no bool; NaN is never smaller than what was dealt
        raise ValueError(f"the {field} of a draw is a number from 0 on, not {value!r:.200}")
    return value
