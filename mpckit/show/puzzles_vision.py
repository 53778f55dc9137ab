"""The puzzles of notebook 10: networks rearranged for shares. Solutions are in `notebooks/solutions/`."""

import copy

import torch
from torch import nn

from ..nn import private
from ..offline.plan import plan
from ..runtime.report import Report
from ..runtime.session import simulate
from ..stream import Stream
from ..tensor import secret
from .puzzle import Finding, puzzle

SEED = b"puzzles draw their weights and pictures from this, so verdicts repeat"[:32]
BUDGET, NEEDED = 60_000, 985  # bytes for one digit; right answers of 1,000


@puzzle(
    "fold multiplies each filter by one number, and adds another to its bias. At inference a norm computes "
    "(y - running_mean) / sqrt(running_var + eps) * weight + bias, with one of each for a channel.",
    "factor = norm.weight / torch.sqrt(norm.running_var + norm.eps). The filters are conv.weight, [out, in, h, w]: a "
    "factor for each `out` is factor.view(-1, 1, 1, 1). A bias that is None counts as 0.",
    "return conv.weight * factor.view(-1, 1, 1, 1), (bias - norm.running_mean) * factor + norm.bias",
)
def fold_norm(answer):
    for name, bias, pictures in (("with a bias", True, (2, 3, 9, 9)), ("without a bias", False, (1, 3, 7, 7))):
        conv, norm = _trained(bias)
        got = answer(copy.deepcopy(conv), copy.deepcopy(norm))
        if not (isinstance(got, tuple) and len(got) == 2 and all(isinstance(t, torch.Tensor) for t in got)):
            yield Finding("right", False, "return two tensors: the new filters, and the new bias")
            return
        if (shapes := [list(t.shape) for t in got]) != [[4, 3, 3, 3], [4]]:
            yield Finding("right", False, f"filters [4, 3, 3, 3] and a bias [4] are wanted, not {shapes}")
            return
        x = _noise("fold/x", pictures)
        with torch.no_grad():
            error = (nn.functional.conv2d(x, *got) - norm(conv(x))).abs().amax(dim=(0, 2, 3))
        if not bool((error < 1e-4).all()):
            channel = int(error.nan_to_num(torch.inf).argmax())
            yield Finding("right", False, f"a layer {name}: channel {channel} differs by {error[channel]:.2g}")
            return
        folded = nn.Conv2d(3, 4, 3)
        with torch.no_grad():
            folded.weight.copy_(got[0]), folded.bias.copy_(got[1])
    yield Finding("right", True, "the same as the layer and its norm, with a bias and without")
    before, after = (_price(model, x) for model in (nn.Sequential(conv, norm), nn.Sequential(folded)))
    told = f"{after.rounds()} rounds, {after.sent()} bytes; with a norm of its own {before.rounds()}, {before.sent()}"
    yield Finding("bill", after.sent() < before.sent(), told)


@puzzle(
    "max(relu(a), relu(b)) is relu(max(a, b)), as relu never turns an order around. Is that so for averages?",
    "list(model) are the layers. Where an nn.ReLU stands right before an nn.MaxPool2d, exchange the two; leave an "
    "nn.AvgPool2d where it is.",
    "layers[k], layers[k + 1] = layers[k + 1], layers[k], and at the end return nn.Sequential(*layers)",
)
def pool_first(answer):
    x = _noise("pool/x", (4, 1, 12, 12))
    for name, pools in (("maxima", (nn.MaxPool2d, nn.MaxPool2d)), ("an average, too", (nn.MaxPool2d, nn.AvgPool2d))):
        model = _textbook(*pools)
        got = answer(copy.deepcopy(model))
        if not isinstance(got, nn.Module):
            yield Finding("right", False, f"return a network, not {type(got).__name__}")
            return
        with torch.no_grad():
            error = float((got(x) - model(x)).abs().max())
        if not error < 1e-4:
            yield Finding("right", False, f"{name}: logits differ by {error:.2g}; they must stay as they were")
            return
        found, most = _price(got, x[:1]), _price(_reordered(model), x[:1])
        if found.sent() > most.sent():
            before = _price(model, x[:1]).sent()
            yield Finding("bytes", False, f"{name}: {found.sent()}, before {before}; the reference has {most.sent()}")
            return
        yield Finding("right", True, f"{name}: {found.sent()} bytes in {found.rounds()} rounds, the same logits")


@puzzle(
    "A maximum of four numbers takes three comparisons, an average none. Which of the two maxima has more windows?",
    "model.pool1 meets 8 maps of 24×24, model.pool2 16 maps of 8×8. Exchange just one: the other keeps what the "
    "network has learnt.",
    "model.pool1 = nn.AvgPool2d(2); return model",
)
def cheaper(answer):
    from ..zoo import digits, lenet

    data = digits()
    model = answer(lenet(pretrained=True))
    if not isinstance(model, nn.Module):
        yield Finding("right", False, f"return the network, not {type(model).__name__}")
        return
    with torch.no_grad():
        plain = model(data.images)
    good = int((plain.argmax(-1) == data.labels).sum())
    yield Finding("right", good >= NEEDED, f"reads {good} of 1000 digits; at least {NEEDED} are wanted")
    bill = _price(model, data.images[:1])
    yield Finding("bytes", bill.sent() <= BUDGET, f"{bill.sent()} for one digit; at most {BUDGET} are allowed")
    with simulate(parties=2, insecure_seed=1):
        encrypted = private(model, owner=1)(secret(data.images[:20], owner=0)).reveal()
    same = int((encrypted.argmax(-1) == plain[:20].argmax(-1)).sum())
    yield Finding("secure", same == 20, f"{same} of 20 encrypted digits are read as in plaintext")


def _noise(label: str, shape: tuple) -> torch.Tensor:
    """Numbers around 0, the same on every machine."""
    words = Stream(SEED, label).words(shape)
    return ((words >> 40).double() / 2.0**23).float() * 2


def _trained(bias: bool):
    """A convolution and a norm with statistics that matter."""
    conv, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        for name, tensor in (*conv.named_parameters(), *norm.named_parameters(), ("mean", norm.running_mean)):
            tensor.copy_(_noise(f"fold/{name}/{tensor.dim()}", tuple(tensor.shape)))
        norm.running_var.copy_(_noise("fold/var", (4,)).abs() + 0.3)
    return conv, norm


def _textbook(first, second) -> nn.Sequential:
    """Two convolutions, each with relu and then a pool, and a linear layer; pictures are 12×12."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), first(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), second(2),
        nn.Flatten(), nn.Linear(72, 16), nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(_noise(f"pool/{name}", tuple(tensor.shape)) / 3)
    return model.eval()


def _reordered(model: nn.Sequential) -> nn.Sequential:
    layers = list(model)
    for k, (layer, after) in enumerate(zip(layers, layers[1:])):
        if isinstance(layer, nn.ReLU) and isinstance(after, nn.MaxPool2d):
            layers[k], layers[k + 1] = after, layer
    return nn.Sequential(*layers)


def _price(model: nn.Module, x: torch.Tensor) -> Report:
    def infer(x, model):
        return private(model, owner=1)(secret(x, owner=0)).reveal(to=0)

    return plan(infer, x, model).report
