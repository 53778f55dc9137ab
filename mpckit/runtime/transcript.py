"""What was said, to look at afterwards: every message, every word and its answer, and the `yield` that said it.

A transcript is kept where a session is asked to (`record=True`): it has all shares of all hosted parties in it.
"""

import os
import types
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from .. import ask as vocabulary
from .. import kernels
from ..ask import Draw
from ..once import OneTime
from . import round as rounds

PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Place(NamedTuple):
    """A `yield` in the source: `file` is a path below the package's folder, or the name of a notebook's cell."""

    file: str
    line: int
    protocol: str
    origin: str = ""  # as Python names the file

    def __str__(self):
        return f"{self.file}:{self.line}, in {self.protocol}"


@dataclass
class Said:
    """One word of the conversation, as all hosted parties said it.

    `messages` are (sender, receiver, bytes), `shapes` {(sender, receiver): tensors as (kind, shape, bits)}, `answers`
    {party: what the yield gave it}, `places` the yields: of one protocol, or of several that share the round.
    """

    word: str
    step: int
    path: str
    text: str
    places: tuple[Place, ...]
    shapes: dict[tuple[int, int], list[tuple]] = field(default_factory=dict)
    messages: list[tuple[int, int, bytes]] = field(default_factory=list)
    answers: dict[int, object] = field(default_factory=dict)

    @property
    def rounds(self) -> int:
        return int(self.word != "Draw")


class Transcript(list):
    """All messages in order, (sender, receiver, bytes) each; `words` has what they belong to, and the Draws."""

    def __init__(self, messages=()):
        super().__init__(messages)
        self.words: list[Said] = []

    def note(self, step: int, path: str, generators: list, asks: list, here: tuple, parties: int):
        """The hosted parties have said `asks` and wait for the answer."""
        said = Said(rounds.word(asks[0]), step, path, rounds.describe(asks[0]), places(generators[0]))
        if not isinstance(asks[0], Draw):
            said.shapes = {
                (p, q): rounds.message_shape(ask, q) for p, ask in zip(here, asks) for q in range(parties) if q != p
            }
        self.words.append(said)

    def add(self, sender: int, receiver: int, payload):
        message = (sender, receiver, bytes(payload))
        self.append(message)
        self.words[-1].messages.append(message)

    def answered(self, replies: list, here: tuple):
        self.words[-1].answers = dict(zip(here, map(_kept, replies)))

    @classmethod
    def merged(cls, parts: list["Transcript"]) -> "Transcript":
        """One transcript from those of parties that ran the same program in processes of their own."""
        whole = cls()
        for said in zip(*(part.words for part in parts)):
            first = said[0]
            word = Said(first.word, first.step, first.path, first.text, first.places)
            for each in said:
                word.shapes |= each.shapes
                word.messages += each.messages
                word.answers |= each.answers
            whole.words.append(word)
            whole += word.messages
        return whole


@dataclass(frozen=True)
class Used:
    """Stands where keys were: they are for one use, and a transcript would keep them alive."""

    count: int

    def __str__(self):
        return f"{self.count} keys, for one use"


def _kept(reply):
    """An answer, without what is for one use."""
    if type(reply) in (tuple, list):
        return type(reply)(map(_kept, reply))
    return Used(len(reply)) if isinstance(reply, OneTime) else reply


def places(generator) -> tuple[Place, ...]:
    """Where a suspended protocol waits: its innermost `yield`, or one for each of those that share a round."""
    generator = innermost(generator)
    frame = getattr(generator, "gi_frame", None)
    if frame is None:
        return ()
    code, local = frame.f_code, frame.f_locals
    if code.co_filename == vocabulary.__file__ and "protocols" in local:
        running = [local["i"]] if code.co_name == "advance" else local.get("running", ())
        return tuple(place for i in running for place in places(local["protocols"][i]))
    file = os.path.relpath(code.co_filename, PACKAGE)
    if file.startswith("..") or code.co_filename.startswith("<"):
        file = "notebook cell" if "ipykernel" in file or file.startswith("<") else os.path.basename(file)
    return (Place(file.replace(os.sep, "/"), frame.f_lineno, code.co_qualname, code.co_filename),)


def innermost(generator):
    """The generator that a chain of `yield from` ends in."""
    while isinstance(inner := getattr(generator, "gi_yieldfrom", None), types.GeneratorType):
        generator = inner
    return generator


def received(said: Said, party: int) -> dict[int, list[tuple[str, int, torch.Tensor]]]:
    """{sender: (kind, bits, tensor) each}: a word's messages to `party`, unpacked as that party does."""
    out = {}
    for sender, receiver, data in said.messages:
        if receiver != party:
            continue
        at, tensors, raw = 0, [], torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else None
        for kind, shape, bits in said.shapes[sender, receiver]:
            count = torch.Size(shape).numel()
            size = kernels.packed_bytes(count, bits)
            tensors.append((kind, bits, kernels.unpack(raw[at : at + size], bits, count).view(shape)))
            at += size
        out[sender] = tensors
    return out
