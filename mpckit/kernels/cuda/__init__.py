"""Bodies for tensors on an NVIDIA GPU: CUDA kernels for words and trees, torch's own products for matrices.

`launch` compiles and starts what is in the `*.cu` files; the modules beside it are the bodies, by the same subjects.
"""

from . import ends, products, trees, words  # noqa: F401  (they register their bodies)
