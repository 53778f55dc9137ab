"""Dry runs again and again: what a protocol said of some shapes once, it says of the same shapes each time.

A model's layers are alike, and a language model's next token is as dear as its last but for attention. So a plan runs a
protocol once for each kind of operands and then repeats what was drawn and sent, which computes nothing.
"""

from functools import partial

import torch

from ..correlations import Mask
from ..once import OneTime
from ..share import AShare, BShare


class Rehearsal:
    """What conversations in a dry run were made of, and what they returned: shapes, of which nobody writes into any."""

    def __init__(self):
        self._known: dict = {}
        self._said: list | None = None  # of the conversation under way: correlations, and (word, bytes) of rounds

    def note(self, word):
        """Something is drawn or sent."""
        if self._said is not None:
            self._said.append(word)

    def run(self, session, protocol, args, drive):
        """`drive()`, which has the session converse about (protocol, args); or the same once more from memory."""
        try:
            key = _kind((protocol, args))
            known = self._known.get(key)
        except TypeError:  # operands of which there is only one
            return drive()
        if known is None:
            self._said = []
            try:
                result = drive()
                if not any(isinstance(word, Mask) for word in self._said):  # a persistent mask is another one each time
                    self._known[key] = self._said, result
            finally:
                self._said = None
            return result
        said, result = known
        session.meter.entry().calls += 1
        for word in said:
            if isinstance(word, tuple):
                session.meter.book(word[0], dict.fromkeys(session.here, 0.0), word[1])
            else:
                session.draw(word)
        return result


def _kind(value):
    """What of an operand decides what is said; TypeError where that is not known."""
    if isinstance(value, AShare):
        return AShare, value.party, value.ring, _layout(value.data), value.fixed and value.fixed.view
    if isinstance(value, BShare):
        return BShare, value.party, value.bits, _layout(value.data)
    if isinstance(value, torch.Tensor):
        return _layout(value)
    if isinstance(value, (tuple, list)):
        return type(value), *map(_kind, value)
    if isinstance(value, dict):
        return dict, *((name, _kind(v)) for name, v in value.items())
    if isinstance(value, partial):
        return partial, _kind(value.func), _kind(value.args), _kind(value.keywords)
    if isinstance(value, OneTime) or getattr(value, "__closure__", None):
        raise TypeError("it may be another the next time, and look the same")
    hash(value)
    return type(value), value  # also the type, since 1 == 1.0 == True


def _layout(tensor: torch.Tensor):
    if not tensor.is_meta:
        raise TypeError("a tensor with values")
    return tensor.dtype, tuple(tensor.shape), tensor.stride()
