"""A secret tensor is a torch tensor without a value: what it does, and what it says when asked for one."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import mpckit as mk


def test_the_example():
    with mk.simulate(parties=3):
        x = mk.secret([1.5, -2.0, 3.25], owner=0)
        y = (x * x + 1).sum()
        assert y.reveal().item() == pytest.approx(19.8125, abs=1e-3)
        assert y.reveal(to=1).item() == pytest.approx(19.8125, abs=1e-3)


@pytest.fixture
def x():
    with mk.simulate(parties=2):
        yield mk.secret(torch.tensor([[1.0, -2.0], [3.0, 4.5]]), owner=0)


def test_it_looks_like_the_tensor_it_hides(x):
    assert (x.shape, x.dtype, x.device.type, x.ndim, len(x)) == ((2, 2), torch.float32, "cpu", 2, 2)
    assert mk.secret(torch.tensor([1, 2]), owner=1).dtype == torch.int64
    assert (x > 0).dtype == mk.secret(torch.tensor([True]), owner=1).dtype == torch.bool
    assert x.T.stride() == (1, 2) and not x.T.is_contiguous()
    assert isinstance(x, torch.Tensor) and torch.is_tensor(x)


@pytest.mark.parametrize(
    "value",
    [torch.tensor(2.5), torch.tensor([[1, -7]]), torch.tensor([True, False, True]), torch.zeros(0, 3), 3.0, [1, 2]],
    ids=str,
)
@pytest.mark.parametrize("owner", [0, 1])
def test_there_and_back(value, owner):
    with mk.simulate(parties=2):
        got = mk.secret(value, owner=owner).reveal()
        assert torch.equal(got, torch.as_tensor(value)) and got.dtype == torch.as_tensor(value).dtype
        assert torch.equal(mk.reveal(mk.secret(value, owner=owner), to=1), torch.as_tensor(value))


def test_pieces_of_bits_say_nothing_alone():
    ones = torch.ones(4000, dtype=torch.bool)
    with mk.simulate(parties=3):
        pieces = [s.data for s in mk.secret(ones, owner=1).shared.shares]
    assert torch.equal(pieces[0] ^ pieces[1] ^ pieces[2], ones)
    assert all(1800 < int(p.sum()) < 2200 for p in pieces)


# ---- no value leaves by accident -------------------------------------------------------------------------------------

ASKED = {
    "bool": (lambda x: bool(x[0, 0]), "torch.where"),
    "if": (lambda x: 1 if x.sum() > 0 else 2, "torch.where"),
    "and": (lambda x: (x > 0).all() and True, "torch.where"),
    "item": (lambda x: x[0, 0].item(), "x.reveal\\(\\).item\\(\\)"),
    "tolist": (lambda x: x.tolist(), "x.reveal\\(\\).tolist"),
    "float": (lambda x: float(x[0, 0]), "float\\(x.reveal"),
    "int": (lambda x: int(x[0, 0]), "int\\(x.reveal"),
    "complex": (lambda x: complex(x[0, 0]), "complex\\(x.reveal"),
    "index": (lambda x: [1, 2, 3][(x[0, 0] > 0).long()], "int\\(x.reveal"),
    "range": (lambda x: range(x.long()), "torch.floor|int\\(x.reveal"),
    "numpy": (lambda x: x.numpy(), "x.reveal\\(\\).numpy"),
    "np.array": (lambda x: np.array(x), "x.reveal\\(\\).numpy"),
    "np.asarray": (lambda x: np.asarray(x, dtype=float), "x.reveal\\(\\).numpy"),
    "np.from_dlpack": (lambda x: np.from_dlpack(x), "no memory to hand on; use x.reveal"),
    "share_memory_": (lambda x: x.share_memory_(), "no memory to share"),
    "module.share_memory": (lambda x: torch.nn.ParameterList([x]).share_memory(), "no memory to share"),
    "apply_": (lambda x: x.apply_(lambda value: value), "use torch's operators"),
    "in": (lambda x: 3.0 in x, "\\(x == element\\).any\\(\\)"),
    "pickle": (lambda x: pickle.dumps(x), "save x.reveal"),
    "torch.save": (lambda x: torch.save(x, io.BytesIO()), "save x.reveal"),
    "copy": (lambda x: copy.copy(x), "save x.reveal"),
    "nonzero": (lambda x: x.nonzero(), "torch.where"),
    "mask": (lambda x: x[x > 0], "index must be public|torch.where"),
    "unique": (lambda x: torch.unique(x), "torch.where"),
    "sort": (lambda x: x.sort(), "torch.where"),
    "equal": (lambda x: torch.equal(x, x), "torch.where"),
    "allclose": (lambda x: torch.allclose(x, x), "torch.where"),
    "secret index": (lambda x: x[(x[0] > 0).long()], "one-hot"),
    "secret gather": (lambda x: x.gather(0, (x > 0).long()), "one-hot"),
    "secret rows": (lambda x: x.index_select(0, (x > 0).long()), "one-hot"),
    "long": (lambda x: x.long(), "torch.floor"),
    "rand_like": (lambda x: torch.rand_like(x), "one party draw"),
    "dropout": (lambda x: torch.dropout(x, 0.5, True), "evaluation mode"),
    "new seed": (lambda x: torch.bernoulli(x), "one party draw"),
}


@pytest.mark.parametrize("name", ASKED)
def test_asked_for_a_value(x, name):
    ask, words = ASKED[name]
    with pytest.raises(mk.SecretError, match=words) as caught:
        ask(x)
    assert not any(digits in str(caught.value) for digits in ("1.0", "-2.0", "3.0", "4.5"))


@pytest.mark.parametrize("show", [print, str, repr, "{}".format, "{:>10}".format, "%s".__mod__, ascii], ids=str)
def test_no_picture_of_the_value(x, show, capsys):
    text = f"{show(x)} {capsys.readouterr().out}"
    assert "SecretTensor(shape=(2, 2), fixed point, 2 parties" in text and "4.5" not in text and "-2" not in text


def test_an_unknown_operator_names_itself_its_shapes_and_the_next_step(x):
    with pytest.raises(NotImplementedError, match=r"aten.sin.default .*\(secret \[2, 2\]\): add one in mpckit/aten"):
        torch.sin(x)
    with pytest.raises(NotImplementedError, match=r"aten.cumprod.default .*mpckit.aten.TABLE"):
        x.cumprod(0)


def test_where_the_answer_may_go(x):
    with pytest.raises(ValueError, match="party 2 is none of the parties 0 to 1"):
        x.reveal(to=2)
    with pytest.raises(ValueError, match="owner 5"):
        mk.secret(1.0, owner=5)
    with pytest.raises(mk.SecretError, match="secret already"):
        mk.secret(x, owner=0)
    with pytest.raises(mk.RangeError, match="nan"):
        mk.secret(torch.tensor([1.0, torch.nan]), owner=0)
    with mk.simulate(parties=2):
        with pytest.raises(mk.SecretError, match="another session"):
            x.reveal()
        with pytest.raises(mk.SecretError, match="two sessions"):
            mk.secret(1.0, owner=0) + x
    with pytest.raises(ValueError, match="only its shape is here"):
        mk.secret(torch.empty(2, device="meta"), owner=0)


def test_outside_a_session():
    with pytest.raises(RuntimeError, match="no session is open"):
        mk.secret(1.0, owner=0)


# ---- autograd, copies, memory ----------------------------------------------------------------------------------------


def test_gradients_are_secret(x):
    w = x.detach().clone().requires_grad_()
    (w * w).sum().backward()
    assert w.requires_grad and w.is_leaf and isinstance(w.grad, mk.SecretTensor)
    assert isinstance(w.detach(), mk.SecretTensor) and not w.detach().requires_grad
    torch.testing.assert_close(w.grad.reveal(), 2 * x.reveal(), atol=1e-3, rtol=0)


def test_deepcopy_is_another_tensor(x):
    y = copy.deepcopy(x)
    y.mul_(2)
    assert x.reveal()[1, 1] == 4.5 and y.reveal()[1, 1] == 9


def test_in_place(x):
    y = x.clone()
    y.add_(1).mul_(2.0).sub_(x).neg_()
    torch.testing.assert_close(y.reveal(), -(2 * (x.reveal() + 1) - x.reveal()), atol=1e-3, rtol=0)
    y.detach().zero_()
    assert y.reveal().abs().max() == 0, "a tensor and its detach are one memory"
    y.index_put_((torch.tensor([0]),), x[1])
    assert y.reveal().tolist() == [[3, 4.5], [0, 0]]
    y.copy_(torch.ones(2))
    assert y.reveal().tolist() == [[1, 1], [1, 1]]


def test_in_place_where_torch_would_change_something_else(x):
    y = x.clone()
    for write in (lambda: y[0].add_(1), lambda: y.T.mul_(2), lambda: y.view(-1).zero_(), lambda: y[:, 1:].relu_()):
        with pytest.raises(mk.SecretError, match="write out of place"):
            write()
    with pytest.raises(mk.SecretError, match="write out of place"):
        y[0] = 1.0
    row = y[0]
    with pytest.raises(mk.SecretError, match="has views"):
        y.add_(1)
    assert torch.equal(y.reveal(), x.reveal()) and torch.equal(row.reveal(), x.reveal()[0])
    with torch.inference_mode():  # else autograd keeps the whole
        left, right = x.clone().chunk(2, 1)
        left.add_(right)  # nobody else sees this memory
    assert left.reveal().tolist() == [[-1], [7.5]] and right.reveal().tolist() == [[-2], [4.5]]


def test_in_place_into_something_public(x):
    public = torch.zeros(2, 2)
    for write in (lambda: public.add_(x), lambda: public.copy_(x), lambda: public.__setitem__(0, x[0])):
        with pytest.raises(mk.SecretError, match="new name instead"):
            write()
    with pytest.raises(mk.SecretError, match="int64 .* cannot become float32"):
        mk.secret(torch.tensor([1]), owner=0).add_(0.5)


def test_what_torch_makes_up_on_the_way_costs_nothing(x):
    x.session.meter.ledger.clear()
    ones = torch.ones_like(x)
    out = (ones.long() * 3 + 1).T * x + torch.zeros_like(x)
    assert x.session.meter.total().rounds == 0 and isinstance(ones, mk.SecretTensor)
    assert torch.equal(out.reveal(), 4 * x.reveal())
    assert torch.equal(ones.reveal(), torch.ones(2, 2))
    total = torch.zeros_like(x)
    total += x
    assert torch.equal(total.reveal(), x.reveal())
