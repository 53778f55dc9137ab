"""The table: torch operator → protocol. A new operator is one row in the module it belongs to.

`table` the row decorator and what rows share · `shape` views, indexing, joining · `arithmetic` sums, products, functions ·
`compare` comparisons, choices, maxima · `layers` convolution, pooling, normalisation, activations · `backward` what autograd asks
"""

from ..tensor import TABLE
from . import arithmetic, layers, shape  # noqa: F401  (importing a module registers its rows)

__all__ = ["TABLE"]
