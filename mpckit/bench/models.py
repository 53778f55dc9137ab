"""Whole models as cases of `python -m mpckit bench`: weights are party 1's, inputs party 0's."""

import torch
import torch.nn.functional as F

from .cases import case


def _inference(name, inputs, model, **options):
    case(name, inputs, lambda model, x: model(x), model=model, **options)


# ---- digits ----------------------------------------------------------------------------------------------------------


def _digits(batch):
    from ..zoo import digits

    return digits(batch)


def _lenet():
    from ..zoo import lenet

    return lenet(pretrained=True)


def _labelled(batch):
    """Pictures and one-hot labels, both secret."""
    data = _digits(batch)
    return data.images, F.one_hot(data.labels, 10).float()


def step(model, images, labels, scale=256):
    """One step of training; the loss. It is scaled, or small gradients were no more than a few units of 2^-16."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1 / scale, momentum=0.9)
    loss = F.cross_entropy(model(images), labels)
    (loss * scale).backward()
    optimizer.step()
    return loss.detach()


_inference("lenet_b1", lambda: (_digits(1).images,), _lenet)
_inference("lenet_b32", lambda: (_digits(32).images,), _lenet)
case("lenet_train_step_b32", lambda: _labelled(32), step, model=_lenet, trains=True)


# ---- pictures --------------------------------------------------------------------------------------------------------


def _picture(size):
    """Of no particular thing: what is said does not depend on what it shows."""
    return (torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(1)),)


def _resnet20():
    from ..folding import fold
    from ..zoo import resnet20

    return fold(resnet20(pretrained=True))


def _resnet18():
    """With random weights."""
    from ..folding import fold
    from ..zoo import resnet18

    torch.manual_seed(18)
    return fold(resnet18())


_inference("resnet20_b1", lambda: _picture(32), _resnet20)
_inference("resnet18_224", lambda: _picture(224), _resnet18, large=True)


# ---- speech ----------------------------------------------------------------------------------------------------------


def _speech():
    from ..zoo.speech import resample, spoken_strings

    return (resample(spoken_strings(1)[0][0], 8000, 16_000)[None, None, :16_000],)


def _wav2letter():
    """In full size, with random weights that keep the signal's strength."""
    from ..zoo import wav2letter

    out = wav2letter()
    for weight in out.parameters():
        if weight.dim() > 1:
            torch.nn.init.kaiming_normal_(weight)
    return out


_inference("wav2letter_1s", _speech, _wav2letter)


def block(width: int = 128, heads: int = 4) -> torch.nn.Module:
    """A transformer block: attention and an MLP four times as wide inside, a norm before each."""
    return torch.nn.TransformerEncoderLayer(
        width, heads, 4 * width, activation="gelu", batch_first=True, norm_first=True
    ).eval()  # fmt: skip


case(
    "block_d128_h4_s64", lambda: (torch.randn(1, 64, 128),), lambda model, x: model(x), model=block, truncation="exact"
)
