"""The table: torch operator → protocol. A new operator is one row in the module it belongs to.

`table` how rows are written · `shape` views, indexing, joining · `arithmetic` sums, products, powers · `compare` comparisons, logic,
choices, extremes · `reduce` sums, means, norms · `activations` · `pool` · `layers` convolution, normalisation · `backward` losses and
gradients · `inplace` what optimizers do. An operator without a row is composed by torch's own definition, if it has one.
"""

from ..tensor import TABLE
from . import activations, arithmetic, backward, compare, inplace, layers, pool, reduce, shape  # noqa: F401  (importing registers rows)

inplace.register()

__all__ = ["TABLE"]
