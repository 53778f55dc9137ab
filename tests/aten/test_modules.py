"""Every layer against plaintext torch, weights secret too, and its bill against its plan."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin import agree, case

import mpckit as mk


def test_an_example():
    layer, x = nn.Linear(3, 2), torch.ones(3)
    with mk.simulate(parties=2), torch.no_grad():
        y = mk.private(layer, owner=1)(mk.secret(x, owner=0))
        torch.testing.assert_close(y.reveal(), layer(x), atol=1e-3, rtol=0)


torch.manual_seed(0)
X, IMAGE, SIGNAL, SEQUENCE = torch.randn(3, 4), torch.randn(2, 3, 9, 9), torch.randn(2, 3, 12), torch.randn(2, 3, 8)
WEIGHT, LATER = torch.randn(4, 3, 3, 3), torch.ones(3, 3).triu(1).bool()


def lived_in(layer):
    """As after training: no statistic is 0 or 1 any more."""
    for name, t in [*layer.named_parameters(), *layer.named_buffers()]:
        if t.is_floating_point():
            t.data = torch.rand(t.shape) + 0.3 if "var" in name else torch.randn(t.shape)
    return layer


class First(nn.Module):
    """The first of a layer's results."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, *x):
        return self.layer(*x)[0]


class All(nn.Module):
    """All of a recurrent layer's results; its state as two inputs."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, *state):
        out, (h, c) = self.layer(x, state or None)
        return out, h, c


class Looking(nn.Module):
    """Attention of a sequence to itself, which torch fuses."""

    def __init__(self, **options):
        super().__init__()
        self.look, self.options = nn.MultiheadAttention(8, 2, batch_first=True), options

    def forward(self, x):
        return self.look(x, x, x, **self.options)


class Tied(nn.Module):
    """Token numbers in, the same table at both ends."""

    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens):
        return self.out(self.embed(tokens))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(3, 3, 3, padding=1), lived_in(nn.BatchNorm2d(3)), nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x + self.two(self.relu(self.norm(self.one(x)))))


CASES = [
    case("Linear", nn.Linear(4, 5), X),
    case("Linear without bias", nn.Linear(4, 5, bias=False), X[0]),
    case("Linear on a batch of matrices", nn.Linear(9, 5), IMAGE),
    case("Bilinear", nn.Bilinear(4, 4, 2), X, X.flip(0)),
    case("Embedding", nn.Embedding(7, 4), torch.tensor([[1, 2], [3, 0]]), public=(0,)),
    case("tied weights", Tied(), torch.tensor([[1, 2], [3, 0]]), public=(0,)),
    case("Conv2d", nn.Conv2d(3, 4, 3), IMAGE),
    case("Conv2d, one picture", nn.Conv2d(3, 4, 3), IMAGE[0]),
    case("Conv2d, all options", nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3, dilation=2), IMAGE),
    case("Conv2d, same size", nn.Conv2d(3, 4, (3, 5), padding="same"), IMAGE),
    case("Conv2d, reflected border", nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
    case("Conv2d round the border", nn.Conv2d(3, 4, (3, 4), padding=(2, 3), padding_mode="circular"), IMAGE),
    case("Conv1d round the border", nn.Conv1d(3, 4, 4, padding="same", padding_mode="circular"), SIGNAL),
    case("CircularPad2d", nn.CircularPad2d((1, 2, 0, 3)), IMAGE),
    case("depthwise", nn.Conv2d(3, 3, 3, groups=3, bias=False), IMAGE),
    case("Conv1d", nn.Conv1d(3, 4, 5, stride=3, padding=2, dilation=2), SIGNAL),
    case("BatchNorm2d", lived_in(nn.BatchNorm2d(3)), IMAGE),
    case("BatchNorm1d", lived_in(nn.BatchNorm1d(4)), X),
    case("BatchNorm1d on signals", lived_in(nn.BatchNorm1d(3)), SIGNAL),
    case("BatchNorm2d without weights", lived_in(nn.BatchNorm2d(3, affine=False)), IMAGE),
    case("BatchNorm2d of this batch", nn.BatchNorm2d(3, track_running_stats=False), IMAGE, tolerance=2e-3),
    case("LayerNorm", lived_in(nn.LayerNorm(4)), X, tolerance=3e-3),
    case("LayerNorm over two", nn.LayerNorm([9, 9]), IMAGE, tolerance=2e-3),
    case("GroupNorm", lived_in(nn.GroupNorm(3, 6)), torch.randn(2, 6, 5), tolerance=3e-3),
    case("InstanceNorm2d", nn.InstanceNorm2d(3), IMAGE, tolerance=2e-3),
    case("RMSNorm", nn.RMSNorm(4), X, tolerance=2e-3),
    case("MaxPool2d", nn.MaxPool2d(2), IMAGE),
    case("MaxPool2d, padded", nn.MaxPool2d(3, stride=2, padding=1), -IMAGE.abs()),
    case("MaxPool2d, dilated", nn.MaxPool2d(3, stride=2, padding=1, dilation=2, ceil_mode=True), IMAGE),
    case("MaxPool2d, oblong", nn.MaxPool2d((2, 3), stride=(1, 2), ceil_mode=True), IMAGE[0]),
    case("MaxPool1d", nn.MaxPool1d(3, 2, 1), SIGNAL),
    case("AvgPool2d", nn.AvgPool2d(2), IMAGE),
    case("AvgPool2d, padded", nn.AvgPool2d(3, stride=2, padding=1), IMAGE),
    case("AvgPool2d, border not counted", nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), IMAGE),
    case("AvgPool2d, last window cut", nn.AvgPool2d((2, 3), stride=2, padding=1, ceil_mode=True), IMAGE),
    case("AvgPool2d, own divisor", nn.AvgPool2d(3, divisor_override=5), IMAGE),
    case("AvgPool2d of 49", nn.AvgPool2d(7), 100 * IMAGE, tolerance=2e-3),
    case("AvgPool1d", nn.AvgPool1d(3, 2, 1), SIGNAL),
    case("AdaptiveAvgPool2d", nn.AdaptiveAvgPool2d((4, 2)), IMAGE),
    case("AdaptiveAvgPool2d to one", nn.AdaptiveAvgPool2d(1), IMAGE),
    case("averages, channels last", lambda x: F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), 1), IMAGE),
    case("an average of steps, channels last", lambda x: F.adaptive_avg_pool1d(x.mT, 1), SIGNAL),
    case("AdaptiveAvgPool1d", nn.AdaptiveAvgPool1d(5), SIGNAL),
    case("AdaptiveMaxPool2d", nn.AdaptiveMaxPool2d((4, 2)), IMAGE),
    case("AdaptiveMaxPool1d", nn.AdaptiveMaxPool1d(5), SIGNAL),
    case("LPPool2d", nn.LPPool2d(2, 2), IMAGE, tolerance=3e-3),
    case("Upsample", nn.Upsample(scale_factor=2), IMAGE),
    case("Upsample to a size", nn.Upsample(size=(5, 13)), IMAGE),
    case("Upsample signals", nn.Upsample(scale_factor=1.5), SIGNAL),
    case("Upsample, bilinear", nn.Upsample(scale_factor=2, mode="bilinear"), IMAGE),
    case("PixelShuffle", nn.PixelShuffle(3), torch.randn(1, 9, 2, 2)),
    case("ChannelShuffle", nn.ChannelShuffle(3), IMAGE),
    case("Unfold", nn.Unfold(3, padding=1), IMAGE),
    case("Fold", nn.Fold((4, 5), 2), torch.randn(2, 12, 12)),
    case("ZeroPad2d", nn.ZeroPad2d(1), IMAGE),
    case("ConstantPad2d", nn.ConstantPad2d((1, 0, 2, 1), -0.5), IMAGE),
    case("Flatten", nn.Flatten(), IMAGE),
    case("Unflatten", nn.Unflatten(1, (2, 2)), X),
    case("Dropout at rest", nn.Dropout(), X),
    case("PReLU", nn.PReLU(3), IMAGE),
    case("GLU", nn.GLU(), X),
    case("RNNCell", nn.RNNCell(4, 5), X, torch.randn(3, 5)),
    case("GRUCell", nn.GRUCell(4, 5), X, torch.randn(3, 5)),
    case("GRU", First(nn.GRU(4, 5)), torch.randn(3, 2, 4)),
    case("LSTM", All(nn.LSTM(4, 3)), torch.randn(3, 2, 4), torch.randn(1, 2, 3), torch.randn(1, 2, 3)),
    case("LSTM both ways", All(nn.LSTM(4, 3, 2, bias=False, batch_first=True, bidirectional=True)), X[None]),
    case("MultiheadAttention", First(nn.MultiheadAttention(8, 2)), *[torch.randn(3, 2, 8)] * 3),
    case("self-attention", Looking(), SEQUENCE),
    case("self-attention, weights not wanted", First(Looking(need_weights=False)), SEQUENCE),
    case("self-attention to the past", Looking(attn_mask=LATER), SEQUENCE),
    case(
        "self-attention to some", Looking(key_padding_mask=torch.tensor([[False, True, False], [False] * 3])), SEQUENCE
    ),
    case("attention by a function", F.scaled_dot_product_attention, *torch.randn(3, 2, 2, 5, 4)),
    case("causal attention", partial(F.scaled_dot_product_attention, is_causal=True), *torch.randn(3, 2, 2, 5, 4)),
    case("transformer", nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), SEQUENCE, tolerance=3e-3),
    case("public picture", nn.Conv2d(3, 4, 3), IMAGE, public=(0,)),
    case("public model", lambda x: F.conv2d(x, WEIGHT, stride=2).flatten(1) @ torch.eye(64)[:, :3], IMAGE),
    case("MLP", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)), X),
    case("residual block, in place", Residual(), IMAGE),
]


def resting(f):
    return copy.deepcopy(f).eval() if isinstance(f, nn.Module) else f


@pytest.mark.parametrize("this", CASES, ids=lambda c: c.name)
def test_module(this):
    with torch.no_grad():
        agree(this._replace(f=resting(this.f)))


@pytest.mark.parametrize("this", CASES[::9], ids=lambda c: c.name)
def test_three_parties(this):
    with torch.no_grad():
        agree(this._replace(f=resting(this.f)), parties=3)


GATES = (
    "BatchNorm2d of this batch", "LayerNorm", "GroupNorm", "RMSNorm", "MaxPool2d", "MaxPool2d, padded", "MaxPool1d",
    "AvgPool2d of 49", "AdaptiveMaxPool2d", "PReLU", "GLU", "GRUCell", "MultiheadAttention",
    "self-attention to the past", "causal attention", "transformer", "MLP", "residual block, in place",
)  # fmt: skip


@pytest.mark.parametrize("this", [c for c in CASES if c.name in GATES], ids=lambda c: c.name)
def test_by_keys(this):
    with torch.no_grad():
        report = agree(this._replace(f=resting(this.f)), suite="fss")
    assert report.suite == "fss" and report.key_bytes > 0


def test_every_gate_is_a_case():
    assert set(GATES) <= {c.name for c in CASES}


def test_with_gradients_on_and_in_inference_mode():
    """torch decomposes more before it asks for an operator in one mode than in the other."""
    net = nn.Sequential(nn.Conv1d(3, 4, 3), nn.MaxPool1d(2), nn.Flatten(), nn.LayerNorm(20), nn.Linear(20, 2)).eval()
    with torch.inference_mode():
        agree(case("inference mode", net, SIGNAL, tolerance=2e-3))
        agree(case("inference mode", lambda a, b: torch.einsum("ij,kj->ik", a, b).softmax(1), X, X.flip(0)))
    with mk.simulate(parties=2):
        y = mk.private(net, owner=1)(mk.secret(SIGNAL, owner=0))
        assert y.requires_grad
        torch.testing.assert_close(y.detach().reveal(), net(SIGNAL).detach(), atol=2e-3, rtol=0)


class Rewriting(nn.Module):
    def forward(self, x):
        first = x[0]
        x.add_(1.0)
        return first


@pytest.mark.parametrize(
    ("layer", "x", "words"),
    [
        (nn.ConvTranspose2d(3, 4, 3), IMAGE, "transposed convolution"),
        (nn.Conv3d(3, 4, 2), torch.randn(1, 3, 4, 4, 4), "three spatial dimensions"),
        (nn.Dropout(), X, "evaluation mode"),
        (Rewriting(), SIGNAL, "write out of place"),
        (nn.Conv2d(4, 6, 3), IMAGE, "a convolution of 4 channels .* cannot take the 3 channels"),
        (nn.Conv2d(3, 6, (3, 5), dilation=3), IMAGE, "a window of 13 entries is more than the 9 of"),
        (nn.MaxPool2d(2, return_indices=True), IMAGE, "meta"),
    ],
)
def test_what_is_missing_says_so(layer, x, words):
    with mk.simulate(parties=2) as session, torch.no_grad():
        with pytest.raises((NotImplementedError, RuntimeError), match=words):
            out = mk.private(layer, owner=1)(mk.secret(x, owner=0))
            out[1].tolist()
    if isinstance(layer, nn.Conv2d):
        assert session.report().rounds() == 1, "the picture was shared, and nothing was opened"
