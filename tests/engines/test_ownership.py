"""`only(owner, value)`: the owner gets the value, the others its shape, and nothing else."""

import pickle
from collections import namedtuple
from dataclasses import dataclass
from functools import partial

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from mpckit.engines.ownership import only, owners, resolve, shape_of

SECRET = 1234.5678


def test_the_owner_gets_the_value_the_others_a_shape():
    argument = only(1, torch.tensor([1.0, 2.0]))
    assert resolve(argument, 1).tolist() == [1.0, 2.0]
    for other in (0, 2, None):
        assert resolve(argument, other).is_meta and resolve(argument, other).shape == (2,)


def test_it_may_be_nested_both_ways():
    pair = namedtuple("pair", "image label")
    x, y = torch.ones(2, 3), torch.zeros(4, dtype=torch.int64)
    arguments = {"a": [only(0, [x, {"y": y}]), 7], "b": pair(only(1, x), "open"), "c": only(0, None)}
    zero, nobody = resolve(arguments, 0), resolve(arguments, None)
    assert zero["a"][0][0] is x and zero["a"][1] == 7 and zero["b"].image.is_meta and zero["b"].label == "open"
    assert nobody["a"][0][1]["y"].is_meta and nobody["a"][0][1]["y"].dtype == torch.int64
    assert owners(arguments) == {0, 1} and owners([3, "x"]) == set()


def test_layout_and_parameters_are_kept():
    x = torch.arange(6.0).reshape(2, 3).T
    assert shape_of(x).stride() == x.stride()
    p = shape_of(nn.Parameter(torch.ones(2), requires_grad=False))
    assert isinstance(p, nn.Parameter) and p.is_meta and not p.requires_grad


class Hoarder(nn.Module):
    """Keeps data in every place where a module can."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.tied = self.layer.weight
        self.register_buffer("buffer", torch.full((2,), SECRET))
        self.plain = torch.full((4,), SECRET)
        self.inside = {"list": [torch.full((5,), SECRET)], "array": np.full(6, SECRET)}
        nn.init.constant_(self.layer.weight, SECRET)

    def forward(self, x):
        return self.layer(x)


def test_a_module_s_copy_holds_no_data_anywhere():
    model = Hoarder().eval()
    twin = resolve(only(1, model), 0)
    assert all(t.is_meta for t in (*twin.parameters(), *twin.buffers(), twin.plain, twin.inside["list"][0]))
    assert twin.inside["array"].tolist() == [0.0] * 6
    assert twin.tied is twin.layer.weight and not twin.training
    assert twin(torch.empty(1, 3, device="meta")).shape == (1, 3)
    assert resolve(only(1, model), 1) is model and model.plain[0] == torch.tensor(SECRET)
    for kind in (np.float32, np.float64):
        assert kind(SECRET).tobytes() not in pickle.dumps(twin)
        assert kind(SECRET).tobytes() in pickle.dumps(model) or kind is np.float64


@pytest.mark.parametrize("value", [3, 2.5, "name", [torch.ones(1), 3], {"k": {"l": 1j}}])
def test_what_has_no_shape_to_give_is_refused(value):
    with pytest.raises(TypeError, match="the others would see this"):
        only(0, value)


@dataclass
class Holder:
    value: object


class Row(list):
    pass


HIDING = Holder, lambda v: Row([v]), lambda v: {"a": [Holder(v)]}, lambda v: partial(print, v)


@pytest.mark.parametrize("hide", HIDING)
def test_where_it_is_not_found_it_does_not_travel(hide):
    """In an object of one's own, and in what a program names, the value would reach every party."""
    argument = resolve(hide(only(0, torch.full((3,), SECRET))), 1)
    for pack in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(TypeError, match="only.0, ….*pass it as an argument of its own"):
            pack(argument)
    mine = only(0, torch.full((3,), SECRET))
    with pytest.raises(TypeError, match="all parties would get the value"):
        cloudpickle.dumps(lambda: mine)


def test_errors_say_what_to_do():
    with pytest.raises(TypeError, match="torch.from_numpy"):
        only(0, np.ones(3))
    for owner in (-1, "Ann", True, 1.0):
        with pytest.raises(ValueError, match="number of a party"):
            only(owner, torch.ones(1))
