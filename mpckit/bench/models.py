"""Whole models as cases of `python -m mpckit bench`: weights are party 1's, inputs party 0's."""

import torch

from .cases import case


def _lenet(batch):
    def inputs():
        from ..zoo import digits

        return (digits().images[:batch],)

    def model():
        from ..zoo import lenet

        return lenet(pretrained=True)

    case(f"lenet_b{batch}", inputs, lambda model, x: model(x), model=model)


_lenet(1)
_lenet(32)


def _wav2letter():
    """One second of speech in a Wav2Letter of full size, with random weights that keep the signal's strength."""

    def inputs():
        from ..zoo.speech import resample, spoken_strings

        return (resample(spoken_strings(1)[0][0], 8000, 16_000)[None, None, :16_000],)

    def model():
        from ..zoo import wav2letter

        out = wav2letter()
        for weight in out.parameters():
            if weight.dim() > 1:
                torch.nn.init.kaiming_normal_(weight)
        return out

    case("wav2letter_1s", inputs, lambda model, x: model(x), model=model)


_wav2letter()
