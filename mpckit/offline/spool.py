"""Where keys wait for their turn: in memory up to a bound, beyond it in a temporary file without a name."""

import dataclasses
import os
import tempfile
import weakref
from collections.abc import Callable
from functools import partial

import torch

from ..once import OneTime

MEMORY = 256 << 20  # bytes of keys that a process holds in memory by default


class Spool(OneTime):
    """Holds keys until they are loaded or given up: a key that nobody can load any more takes no room."""

    def __init__(self, memory: int = MEMORY):
        self.memory, self.held = memory, 0  # bytes
        self.waiting = 0  # keys in the file
        self._file, self._end = None, 0

    def hold(self, keys: list) -> list[Callable]:
        """For each of `keys` (one function's, party by party) what gives it back. OSError where the disk is full."""
        tensors = {id(t): t for key in keys for t in _fields(key).values()}  # the parties here share correction words
        size = sum(t.nbytes for t in tensors.values()) // len(keys)
        if self.held + size * len(keys) <= self.memory:
            return [self._loader(size, 0, lambda key=key: key) for key in keys]
        places = {i: self._write(t) for i, t in tensors.items()}
        # Nothing of the key itself may stay, not even an empty slice: it would keep all of its memory.
        return [
            self._loader(0, 1, partial(_build, type(key), _others(key), self._read, _places(key, places)))
            for key in keys
        ]

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

    def _write(self, tensor):
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
                f"no room for {tensor.nbytes} more bytes of keys in {tempfile.gettempdir()} ({error.strerror}): make "
                "some, name another folder in TMPDIR, raise key_memory, or take suite='bits', which is dealt a tenth",
            ) from None
        return start

    def _read(self, start, shape, device):
        tensor = torch.empty(shape, dtype=torch.int64)
        data = _bytes(tensor)
        while data:
            done = os.preadv(self._file.fileno(), [data], start)
            if not done:
                raise OSError(f"the file of waiting keys in {tempfile.gettempdir()} is shorter than what was written")
            data, start = data[done:], start + done
        return tensor.to(device)


def _bytes(tensor) -> memoryview:
    """The tensor's memory; without elements it has none that could be cast."""
    return memoryview(tensor.numpy()).cast("B") if tensor.numel() else memoryview(b"")


def _fields(key) -> dict:
    return {f.name: v for f in dataclasses.fields(key) if isinstance(v := getattr(key, f.name), torch.Tensor)}


def _others(key) -> dict:
    return {f.name: v for f in dataclasses.fields(key) if not isinstance(v := getattr(key, f.name), torch.Tensor)}


def _places(key, places) -> dict:
    """Where the tensors of this key lie: (start, shape, device) each."""
    return {name: (places[id(t)], t.shape, t.device) for name, t in _fields(key).items()}


def _build(kind, others, read, places):
    return kind(**others, **{name: read(*place) for name, place in places.items()})
