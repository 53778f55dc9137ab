"""One round of a conversation as bytes: what each party owes each other one, and what the answers are.

The simulator and the engines share this text, so that a transcript is the same byte for byte wherever a party runs.
"""

import hashlib
from collections.abc import Generator

import numpy as np
import torch

from .. import kernels
from ..ask import Draw, Open, Round, Send
from ..correlations.base import Correlation
from ..share import AShare, BShare, join
from .device import received as on_device
from .device import to_host
from .frames import HEADER
from .sockets import DivergenceError

HEADER_BYTES = HEADER.size


def items(ask) -> list:
    """The Opens and Sends of one ask."""
    return list(ask.asks) if isinstance(ask, Round) else [ask]


def word(ask) -> str:
    """ "Draw", "Open", "Send"; of several in one round "Open+Send"."""
    return "+".join(dict.fromkeys(type(item).__name__ for item in items(ask)))


def message_shape(ask, peer: int) -> list[tuple]:
    """The tensors that go to `peer` in this round: (what, shape, bits) each."""
    return _shapes(ask, peer, lambda send: send.outbox[peer].shape if peer in send.outbox else None)


def expected_shape(ask, me: int, peer: int) -> list[tuple]:
    """The tensors that `me` expects from `peer`, as `message_shape` has them there."""
    return _shapes(ask, me, lambda send: send.expect.get(peer))


def _shapes(ask, learner: int, sent) -> list[tuple]:
    """What `learner` is told by the Opens, and by the Sends whose shape `sent` gives (None: nothing)."""
    out = []
    for item in items(ask):
        if not isinstance(item, Open):
            if (shape := sent(item)) is not None:
                out.append(("Send", tuple(shape), 64))
        elif item.to is None or item.to == learner:
            out += [(type(s).__name__, tuple(s.shape), s.bits) for s in item.shares]
    return out


def length(shape: list[tuple]) -> int:
    """Bytes of a message with these tensors, each packed by itself."""
    return sum(kernels.packed_bytes(torch.Size(s).numel(), bits) for _, s, bits in shape)


def digest(what) -> int:
    """64 bits of shapes and correlations, which agree only if both sides mean the same ones."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=8).digest(), "little")


def payload(ask, peer: int) -> bytes | np.ndarray:
    """What goes to `peer`, tensor by tensor, packed to the width of its ring."""
    parts = []
    for item in items(ask):
        if isinstance(item, Open):
            if item.to is None or item.to == peer:
                parts += [kernels.pack(s.data, s.bits) for s in item.shares]
        elif peer in item.outbox:
            parts.append(kernels.pack(item.outbox[peer], 64))
    if len(parts) == 1:
        return to_host(parts[0]).numpy()
    return to_host(torch.cat(parts)).numpy() if parts else b""  # from a GPU all of a round comes in one piece


def answers(ask, me: int, received: dict, device="cpu") -> list:
    """This party's answers, one per item and on `device`, from the other parties' bytes ({peer: uint8 array})."""
    at, out = dict.fromkeys(received, 0), []
    received = {peer: on_device(torch.from_numpy(data), device) for peer, data in received.items()}

    def take(peer, shape, bits):
        size = kernels.packed_bytes(torch.Size(shape).numel(), bits)
        at[peer] += size
        return received[peer][at[peer] - size : at[peer]]

    for item in items(ask):
        if not isinstance(item, Open):
            out.append(
                {
                    peer: kernels.unpack(take(peer, shape, 64), 64, torch.Size(shape).numel()).view(shape)
                    for peer, shape in item.expect.items()
                }
            )
        elif item.to is None or item.to == me:
            values = [own.data for own in item.shares]
            for peer in sorted(received):
                for k, own in enumerate(item.shares):
                    said, is_xor = take(peer, own.shape, own.bits), isinstance(own, BShare)
                    values[k] = kernels.join_packed(values[k], said, own.bits, is_xor)
            out.append(values[0] if len(values) == 1 else tuple(values))
        else:
            out.append(unknown(item))
    return out


def check(ask, parties: int) -> None:
    """Raises TypeError for what no protocol can say, with what it can."""
    if isinstance(ask, Draw):
        if not isinstance(ask.correlation, Correlation):
            raise TypeError(
                f"a protocol draws a correlation, and {_kind(ask.correlation)} is none: mpckit.correlations"
            )
        return
    for item in items(ask):
        if isinstance(item, Open):
            if not item.shares:
                raise TypeError("this protocol opens nothing: `yield mk.Open(x)` has a share to open")
            for share in item.shares:
                if not isinstance(share, (AShare, BShare)):
                    raise TypeError(f"a protocol opens shares, and {_kind(share)} is none: whom it is for is `to=`")
            peers = () if item.to is None else (item.to,)
        elif isinstance(item, Send):
            for words in item.outbox.values():
                if not isinstance(words, torch.Tensor):
                    raise TypeError(
                        f"a protocol sends words, int64 tensors, and {_kind(words)} is none: `x.data` is one"
                    )
            peers = (*item.outbox, *item.expect)
        else:
            raise TypeError(
                f"a protocol says {_kind(item)}: it may say Draw, Open or Send, `yield mk.Open(x)` for instance"
            )
        for peer in peers:
            if peer not in range(parties):
                raise TypeError(f"a protocol speaks to party {peer}, which is none of the parties 0 to {parties - 1}")


def _kind(thing) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__


def spoken(made, protocol):
    """What calling `protocol` has made, if that can speak. Raises TypeError where it has no `yield`."""
    if not isinstance(made, Generator):
        name = getattr(protocol, "__name__", type(protocol).__name__)
        raise TypeError(f"{name} is no protocol: that speaks with `yield`, and this one returned {_kind(made)}")
    return made


def agree(asks: list, here: list[int], step: int) -> None:
    """Where all parties are in this process: raise DivergenceError unless what they say fits together.

    `asks` and `here` (party numbers) run in parallel; a wire finds the same by digests.
    """
    first = asks[0]
    if isinstance(first, Draw):
        fits = all(isinstance(a, Draw) and a.correlation == first.correlation for a in asks[1:])
    else:
        fits = all(type(a) is type(first) for a in asks) and all(
            message_shape(a, q) == expected_shape(b, q, p)
            for p, a in zip(here, asks) for q, b in zip(here, asks) if p != q
        )  # fmt: skip
    if not fits:
        diverged({p: f"at step {step}: {describe(a)}" for p, a in zip(here, asks)})


def diverged(positions: dict[int, str]):
    """Raise DivergenceError from {party: where it is in its program}."""
    where = "; ".join(f"party {p} is {said}" for p, said in positions.items())
    raise DivergenceError(f"the parties do not run the same program: {where}", positions)


def joined(asks: list, here: list[int]) -> list[list]:
    """Every hosted party's answers when all parties are in this process: nothing is packed."""
    columns = list(zip(*(items(a) for a in asks)))
    out = [[] for _ in asks]
    for column in columns:
        if isinstance(column[0], Open):
            values = [join([item.shares[k] for item in column]) for k in range(len(column[0].shares))]
            answer = values[0] if len(values) == 1 else tuple(values)
            for row, item, party in zip(out, column, here):
                row.append(answer if item.to is None or item.to == party else unknown(item))
        else:
            for row, item, party in zip(out, column, here):
                row.append({peer: column[peer].outbox[party] for peer in item.expect})
    return out


def unknown(item: Open):
    """Stands for values that this party does not learn: meta tensors."""
    values = [torch.empty(s.shape, dtype=s.data.dtype, device="meta") for s in item.shares]
    return values[0] if len(values) == 1 else tuple(values)


def describe(ask) -> str:
    """What is said, for an error message: "Open(ring[3, 4])"."""
    if isinstance(ask, Draw):
        return f"Draw({ask.correlation})"
    parts = []
    for item in items(ask):
        if isinstance(item, Open):
            parts.append(
                "Open("
                + ", ".join(f"{'bits' if isinstance(s, BShare) else 'ring'}{list(s.shape)}" for s in item.shares)
                + ")"
            )
        else:
            parts.append(f"Send(to {sorted(item.outbox)}, from {sorted(item.expect)})")
    return " + ".join(parts)
