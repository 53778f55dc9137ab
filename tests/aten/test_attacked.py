"""What a reviewer broke once: each was silent, and wrong."""

import math

import pytest
import torch

import mpckit as mk
from mpckit.tensor import SecretError

DIVISORS = (-2, -3, 7, -7, 49, 3, 1, 100_000)
WHOLE = torch.tensor([4, 6, 7, -4, 123_456, 10_000_019, 0, -7, -8, 14, 343])


@pytest.fixture
def secret():
    with mk.simulate(2):
        yield lambda value: mk.secret(torch.as_tensor(value), owner=0)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_whole_numbers_divide_as_in_torch(secret, divisor):
    x = secret(WHOLE)
    assert torch.equal((x // divisor).reveal(), WHOLE // divisor)
    assert torch.equal((x % divisor).reveal(), WHOLE % divisor)
    toward_zero = torch.div(x, divisor, rounding_mode="trunc").reveal()
    assert torch.equal(toward_zero, torch.div(WHOLE, divisor, rounding_mode="trunc"))
    small = torch.tensor([4, 6, 7, -4, 9999, -7])
    assert torch.equal((secret(small) // secret(torch.full((6,), divisor))).reveal(), small // divisor)


def test_multiples_leave_no_rest(secret):
    multiples = torch.arange(2000) * 7.0
    assert torch.equal((secret(multiples) // 7.0).reveal(), multiples // 7)
    assert torch.equal((secret(multiples) % 7.0).reveal(), multiples % 7)


def test_means_of_many_and_losses_do_not_wrap(secret):
    assert torch.nn.functional.mse_loss(secret(torch.full((1000,), 500.0)), torch.zeros(1000)).reveal() == 250_000
    assert (secret(torch.full((50_000,), -5000.0)).mean().reveal() + 5000).abs() < 0.01


def test_integers_stay_integers_and_bounds_keep_their_fraction(secret):
    assert torch.equal(secret([-3, 4]).abs().reveal(), torch.tensor([3, 4]))
    assert torch.equal(secret([0, 1, -2]).clamp(min=0.5).reveal(), torch.tensor([0.5, 1.0, 0.5]))


def test_bits_of_integers_are_not_mistaken_for_truth(secret):
    for operation in (lambda x: x & 3, lambda x: x | 1, lambda x: x ^ 3, lambda x: ~x):
        with pytest.raises(NotImplementedError, match="bitwise"):
            operation(secret([6, 5]))
    assert torch.equal((secret([True, False]) & torch.tensor([True, True])).reveal(), torch.tensor([True, False]))


def test_infinity_is_beyond_large_numbers(secret):
    large = secret([2.0**21])
    assert (large < math.inf).reveal() and not torch.isinf(large).reveal()
    masked = secret([-3e6, -3.1e6]).masked_fill(torch.tensor([False, True]), -math.inf)
    assert torch.equal(torch.softmax(masked, -1).reveal(), torch.tensor([1.0, 0.0]))
    with pytest.raises(mk.RangeError):
        large * torch.tensor([math.inf])


def test_assigning_data_changes_the_weight(secret):
    layer = mk.private(torch.nn.Linear(2, 1), owner=1)
    before = layer.weight.reveal()
    layer.weight.data = layer.weight.data * 2
    assert torch.allclose(layer.weight.reveal(), 2 * before, atol=1e-4)
    with pytest.raises(SecretError, match="take this one's place"):
        layer.weight.data = torch.zeros(1, 2)


def test_weights_that_are_no_fractions_are_refused_not_published():
    class Quantised(torch.nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = torch.nn.Parameter(weight, requires_grad=False)

    for weight in (torch.ones(2, dtype=torch.int8), torch.ones(2, dtype=torch.complex64)):
        with mk.simulate(2, record=True) as session, pytest.raises(TypeError, match="weight is a torch"):
            mk.private(Quantised(weight), owner=1)
        assert session.transcript == []


def test_a_ring_too_narrow_for_a_function_says_so():
    with mk.simulate(2, ring=mk.Ring(32, 12)):
        x = mk.secret(torch.tensor([0.3]), owner=0)
        assert (x * 3 * 0.5 - 0.45).reveal().abs() < 0.01
        with pytest.raises(ValueError, match="softmax with 12 fraction bits needs a ring of 47 bits"):
            torch.softmax(x, -1)


@pytest.mark.parametrize("view", [lambda t: t.t(), lambda t: t[:, ::2], lambda t: t.expand(2, 3, 4)])
def test_an_owner_may_pass_a_view(secret, view):
    value = view(torch.arange(12.0).reshape(3, 4))
    assert torch.equal(secret(value).reshape(-1).reveal(), value.reshape(-1))


def test_a_secret_number_without_a_row_gives_zeros_or_one_that_it_is_modulo_a_power_of_two(secret):
    """As documented: nobody may know that there is none."""
    table = torch.arange(1.0, 11).view(5, 2)
    rows = torch.nn.functional.embedding(secret([4, 5, 7, 8, 9, -1, 13]), secret(table)).reveal()
    zeros = torch.zeros(2)
    assert torch.equal(rows, torch.stack((table[4], zeros, zeros, table[0], table[1], zeros, zeros)))
