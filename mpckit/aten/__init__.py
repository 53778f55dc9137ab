"""The table: torch operator → protocol. A new operator is one row in the module it belongs to.

table        how rows are written                      reduce       sums, means, products, norms
shape        views, indexing, joining, constants       activations  relu, clamp, sigmoid, softmax …
arithmetic   sums, products, powers, whole numbers     pool         maxima and means over windows
compare      comparisons, logic, choices, extremes     layers       convolution, normalisation
inplace      what optimizers do                        backward     losses and gradients
squares      whose truncation waits                    attention    fused operators of transformers
embedding    rows by public or secret number
masks        opened once for several products
waiting      … and that of products                   scaled       … by public numbers

An operator without a row is composed by torch's own definition (`torch._decomp`), if it has one.
"""

from ..tensor import TABLE
from . import activations, arithmetic, attention, backward, compare, embedding, inplace, layers, pool, reduce, shape  # noqa: F401  (importing registers rows)

inplace.register()

__all__ = ["TABLE"]
