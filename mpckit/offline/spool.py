"""Where what was dealt waits for its turn: in memory up to a bound, beyond it in a temporary file without a name.

Keys of function secret sharing are most of it. What is dealt ahead for a program that draws ten thousand times, a text
that is written say, are many small pieces: each tensor costs a kilobyte besides its words.
"""

import contextlib
import dataclasses
import os
import tempfile
import weakref
from collections.abc import Callable
from functools import partial

import torch

from ..fss import Keys
from ..once import OneTime

MEMORY = 256 << 20  # bytes that a process holds in memory by default
BESIDE = 32 << 20  # … a party of which the others, the dealer and a notebook are on the same machine: 2 GB on Binder
OBJECT = 1 << 10  # bytes that a tensor takes besides its words
ALIGNED = 16  # bytes: words of a piece that is read back begin where vector code likes it


class Spool(OneTime):
    """Holds keys and pieces until they are loaded or given up: what nobody can load any more takes no room."""

    def __init__(self, memory: int = MEMORY):
        self.memory, self.held = memory, 0  # bytes
        self.waiting = 0  # keys, and pieces of draws, in the file
        self._file, self._end = None, 0
        self._layouts: dict = {}

    def hold(self, keys: list) -> list[Callable]:
        """For each of `keys` (one function's, party by party) what gives it back. OSError where the disk is full."""
        tensors = {id(t): t for key in keys for t in _fields(key).values()}  # the parties here share correction words
        size = sum(t.nbytes for t in tensors.values()) // len(keys)
        if self.held + size * len(keys) <= self.memory:
            return [self._loader(size, 0, lambda key=key: key) for key in keys]
        with self._writing():
            places = {i: self._write(t) for i, t in tensors.items()}
            # Nothing of the key itself may stay, not even an empty slice: it would keep all of its memory.
            return [
                self._loader(0, 1, partial(_build, type(key), _others(key), self._read, _places(key, places)))
                for key in keys
            ]

    def keep(self, pieces: list[tuple]) -> Callable:
        """What gives the pieces of a draw back, party by party: shares wait here, keys where `hold` has put them."""
        shares = [piece for row in pieces for piece in row if not isinstance(piece, Keys)]
        size = sum(share.data.nbytes + OBJECT for share in shares)
        if self.held + size <= self.memory:
            return self._loader(size, 0, lambda: pieces)
        data = [_octets(share.data) for share in shares]
        room = [-(-len(octets) // ALIGNED) * ALIGNED for octets in data]
        record = torch.zeros(sum(room), dtype=torch.uint8)
        for part, octets in zip(record.split(room), data):
            part[: len(octets)] = octets
        layout = tuple((type(s), s.party, s.data.dtype, s.data.shape, s.data.device) for s in shares)
        layout = self._layouts.setdefault(layout, layout)  # many draws are alike
        keys = [[piece if isinstance(piece, Keys) else None for piece in row] for row in pieces]
        keys = keys if len(shares) < sum(map(len, pieces)) else [len(row) for row in pieces]
        with self._writing():
            start = self._write(record, "pieces")
            return self._loader(0, 1, partial(self._pieces, start, record.shape, layout, keys))

    def _pieces(self, start, size, layout, keys):
        record, at, shares = self._read(start, size, "cpu", torch.uint8), 0, []
        for kind, party, dtype, shape, device in layout:
            count = shape.numel() * dtype.itemsize
            shares.append(kind(record[at : at + count].view(dtype).view(shape).to(device), party))
            at += -(-count // ALIGNED) * ALIGNED
        shares = iter(shares)
        rows = ([None] * row if isinstance(row, int) else row for row in keys)
        return [tuple(next(shares) if piece is None else piece for piece in row) for row in rows]

    @contextlib.contextmanager
    def _writing(self):
        """Until a loader stands for it, what is written waits too: the last of the others may go meanwhile."""
        self.waiting += 1
        try:
            yield
        finally:
            self._release(0, 1)

    def _loader(self, held, waiting, load):
        self.held += held
        self.waiting += waiting
        loader = partial(load)
        # Also keys that are dropped unused, after an error say, must make room.
        weakref.finalize(loader, self._release, held, waiting).atexit = False
        return loader

    def _release(self, held, waiting):
        self.held -= held
        self.waiting -= waiting
        if self._end and not self.waiting and self.at_home:  # the file begins anew; a forked copy must not empty it
            self._end = 0
            os.ftruncate(self._file.fileno(), 0)

    def _write(self, tensor, what="keys"):
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="mpckit keys ")
            weakref.finalize(self, self._file.close)
        data, start = _bytes(tensor.cpu().contiguous()), self._end
        try:
            while data:
                done = os.pwrite(self._file.fileno(), data, self._end)
                data, self._end = data[done:], self._end + done
        except OSError as error:
            self._end = start
            os.ftruncate(self._file.fileno(), start)
            raise OSError(
                error.errno,
                f"no room for {tensor.nbytes} more bytes of {what} in {tempfile.gettempdir()} ({error.strerror}): make "
                "some, name another folder in TMPDIR, raise key_memory, or take suite='bits', which is dealt a tenth",
            ) from None
        return start

    def _read(self, start, shape, device, dtype=torch.int64):
        tensor = torch.empty(shape, dtype=dtype)
        data = _bytes(tensor)
        while data:
            done = os.preadv(self._file.fileno(), [data], start)
            if not done:
                raise OSError(f"the file of what waits in {tempfile.gettempdir()} is shorter than what was written")
            data, start = data[done:], start + done
        return tensor.to(device)


def _bytes(tensor) -> memoryview:
    """The tensor's memory; without elements it has none that could be cast."""
    return memoryview(tensor.numpy()).cast("B") if tensor.numel() else memoryview(b"")


def _octets(tensor) -> torch.Tensor:
    """The tensor's memory, uint8."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)


def _fields(key) -> dict:
    return {f.name: v for f in dataclasses.fields(key) if isinstance(v := getattr(key, f.name), torch.Tensor)}


def _others(key) -> dict:
    return {f.name: v for f in dataclasses.fields(key) if not isinstance(v := getattr(key, f.name), torch.Tensor)}


def _places(key, places) -> dict:
    """Where the tensors of this key lie: (start, shape, device) each."""
    return {name: (places[id(t)], t.shape, t.device) for name, t in _fields(key).items()}


def _build(kind, others, read, places):
    return kind(**others, **{name: read(*place) for name, place in places.items()})
