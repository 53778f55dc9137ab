"""A frame: a header of 24 bytes that fits one sender, one place and one session, and a payload.

The header says at which step the sender is, which word it speaks and what shapes it sends. It ends with a tag: a keyed
hash of the rest and of the frame's number in its direction, under a key that only this connection has. So a frame that
comes twice, late or from another session, and bytes that are no frame at all, are told from a frame of a party that
runs another program: the first end as ProtocolError, the second as DivergenceError.
"""

import hashlib
import hmac
import json
import struct
from enum import IntEnum
from typing import NamedTuple

from .sockets import DEALER, ProtocolError, plain

HEADER = struct.Struct("<IBBHII8s")  # step, word, length >> 32, sender, length, digest, tag: 24 bytes
SIGNED = HEADER.size - 8  # bytes of a header that the tag covers
LONGEST = 1 << 36  # bytes of a payload
LONGEST_ABORT = 64 << 10  # bytes
REMEMBERED = 1024  # frames back to which a frame that comes again is recognised
SHAPES = 0xFFFFFFFF  # the part of a shape digest that travels


class Word(IntEnum):
    """What a frame says."""

    OPEN = 1
    SEND = 2
    ROUND = 3
    END = 4  # "my program is over"
    ABORT = 9

    @classmethod
    def _missing_(cls, value):
        return cls.__members__.get(str(value).upper())  # the conversation's own names: Word("Open")


class Head(NamedTuple):
    """What a header says."""

    step: int
    word: Word
    sender: int
    digest: int
    length: int


class Direction:
    """The frames from `sender` over one connection: makes their headers at one end and checks them at the other."""

    def __init__(self, key: bytes, sender: int):
        self.sender, self.count = sender, 0
        self._hash = hashlib.blake2b(key=hmac.digest(key, b"frames from %d" % sender, "sha256"), digest_size=8)

    def _tag(self, signed: bytes, number: int) -> bytes:
        hashed = self._hash.copy()
        hashed.update(signed + number.to_bytes(8, "little"))
        return hashed.digest()

    def pack(self, step: int, word: Word, digest: int, length: int) -> bytes:
        """The header of the next frame. Raises ValueError for a payload that is too long."""
        if length > LONGEST:
            raise ValueError(f"a message of {length} bytes: at most {LONGEST} travel in one")
        header = HEADER.pack(step, word, length >> 32, self.sender, length & 0xFFFFFFFF, digest & SHAPES, bytes(8))
        tag = self._tag(header[:SIGNED], self.count)
        self.count += 1
        return header[:SIGNED] + tag

    def unpack(self, header: bytes) -> Head:
        """What the next frame's header says. Raises ProtocolError for any other 24 bytes."""
        step, word, high, sender, low, digest, tag = HEADER.unpack(header)
        if not hmac.compare_digest(tag, self._tag(header[:SIGNED], self.count)):
            raise ProtocolError(f"party {self.sender} sent {self._what_came(header[:SIGNED], tag)}", self.sender)
        try:
            word = Word(word)
        except ValueError:
            raise ProtocolError(f"party {self.sender} says a word that does not exist: {word}", self.sender) from None
        length = high << 32 | low
        if sender != self.sender:
            raise ProtocolError(f"party {self.sender} calls itself party {sender}", self.sender)
        if length > (LONGEST_ABORT if word == Word.ABORT else LONGEST):
            raise ProtocolError(f"party {sender} announces {length} bytes, which is too long", sender)
        self.count += 1
        return Head(step, word, sender, digest, length)

    def _what_came(self, signed: bytes, tag: bytes) -> str:
        for back in range(1, min(self.count, REMEMBERED) + 1):
            if hmac.compare_digest(tag, self._tag(signed, self.count - back)):
                return f"frame {self.count - back} a second time, where frame {self.count} belongs"
        for ahead in range(1, 17):
            if hmac.compare_digest(tag, self._tag(signed, self.count + ahead)):
                return f"frame {self.count + ahead} where frame {self.count} belongs: out of order, or one is lost"
        return f"24 bytes that are not the header of frame {self.count} of this session"


KINDS = {"failed": {"party", "reason"}, "gone": {"party", "reason"}, "broken": {"party", "reason"}}
KINDS["diverged"] = {"party", "reason", "position"}


def pack_abort(said: dict) -> bytes:
    """The payload of an ABORT frame."""
    said = {key: value[: LONGEST_ABORT // 20] if isinstance(value, str) else value for key, value in said.items()}
    return json.dumps(said).encode()


def unpack_abort(body: bytes, sender: int, parties: int = DEALER) -> dict:
    """What an ABORT frame says: kind, party, reason (and position), in one line each.

    Raises ProtocolError for anything else, and where it blames none of the `parties`.
    """
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    known = isinstance(said, dict) and KINDS.get(str(said.get("kind")))
    if not known or said.keys() != known | {"kind"} or type(said["party"]) is not int:
        raise ProtocolError(f"party {sender} ended with a reason that cannot be read", sender)
    if not all(isinstance(said[key], str) for key in known - {"party"}):
        raise ProtocolError(f"party {sender} ended with a reason that is no text", sender)
    if not 0 <= said["party"] < parties:
        raise ProtocolError(f"party {sender} blames somebody who is no party", sender)
    return said | {key: plain(said[key]) for key in known - {"party"}}
