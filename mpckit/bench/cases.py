"""What `python -m mpckit bench` measures: one case a row, a computation that torch does as well."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Case:
    """One thing to measure: `inputs()` gives plaintext tensors, owned in turn by party 0 and party 1.

    `compute` works on secret and on plain tensors alike. `model()` gives a module that party 1 makes private; then
    sharing the inputs, all of them party 0's, and revealing the result count as online. `trains`: the error is that of
    the weights afterwards. `large`: takes minutes and gigabytes, so it runs where it is named only.
    """

    inputs: Callable[[], tuple]
    compute: Callable
    model: Callable | None = None
    loops: int = 1  # calls per measurement, for what is too short to time
    trains: bool = False
    large: bool = False
    truncation: str | None = None  # default: what the suite takes


CASES: dict[str, Case] = {}


def case(name: str, inputs, compute, **options):
    CASES[name] = Case(inputs, compute, **options)


def _normal(*shape, scale=1.0):
    return lambda: (torch.randn(shape) * scale,)


def _two(left, right):
    return lambda: (torch.randn(left), torch.randn(right))


def _positive(*shape):
    return lambda: (torch.rand(shape) * 100 + 0.1,)


case("mul_1", _two((1,), (1,)), lambda x, y: x * y, loops=200)
case("mul_1e5", _two((100_000,), (100_000,)), lambda x, y: x * y)
case("matmul_256", _two((256, 256), (256, 256)), lambda x, y: x @ y)
case("matmul_1024", _two((1024, 1024), (1024, 1024)), lambda x, y: x @ y)
case("gtz_1e5", _normal(100_000), lambda x: x > 0)
case("relu_1e5", _normal(100_000), torch.relu)
case("relu_1e6", _normal(1_000_000), torch.relu)
case("max10_1000", _normal(1000, 10), lambda x: x.max(-1).values)
case("softmax_128x128", _normal(128, 128), lambda x: torch.softmax(x, -1))
case("exp_1e4", _normal(10_000), torch.exp)
case("reciprocal_1e4", _positive(10_000), torch.reciprocal)
case("rsqrt_1e4", _positive(10_000), torch.rsqrt)
case("sigmoid_1e4", _normal(10_000, scale=4.0), torch.sigmoid)
case("tanh_1e4", _normal(10_000, scale=2.0), torch.tanh)
case("gelu_1e5", _normal(100_000, scale=2.0), F.gelu)
case("layernorm_64x128", _normal(64, 128, scale=3.0), lambda x: F.layer_norm(x, (128,)))
