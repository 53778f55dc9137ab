"""What a dealer deals: joint randomness that makes the online phase cheap. It sees no input.

Each correlation says in `deal` how its pieces come about, once for all who ask: the dealer (values and all pieces),
a party that expands its own pieces from its seed (the values are meta tensors then), and the planner (all meta).
`d` offers
    d.mask · d.words · d.bits (shape)   a uniform secret (additive, xor words, xor bits): all expand, none is sent
    d.share · d.xor_share (value)       shares of a dependent secret: the last party's piece travels
    d.point (alpha, bits)               keys of the point function at alpha, of two parties; d.sign: of their shares
    d.comparison (alpha, payload, …)    keys of the comparison function; of both the correction words travel, to both
    d.fixed(number, shape)              the persistent mask of that number, the same at every call
and each returns a handle with `.value`.
"""

from .base import Correlation, Shape
from .bits import BitTriple, DaBit, EdaBits, Node, WordBits
from .masked import Compare, Equal, Ramp, Reduce, Select, TruncPair, TruncRelu, Wrap
from .products import Bilinear, Mask, Square, SquareTriple, Triple, View
from .tables import Cut, Lines, SignedTable, Table

__all__ = [
    "Bilinear", "BitTriple", "Compare", "Correlation", "Cut", "DaBit", "EdaBits", "Equal", "Lines", "Mask", "Node",
    "Ramp", "Reduce", "Select", "Shape", "SignedTable", "Square", "SquareTriple", "Table", "Triple", "TruncPair",
    "TruncRelu", "View", "WordBits", "Wrap",
]  # fmt: skip
