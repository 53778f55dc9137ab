"""Whole models as cases of `python -m mpckit bench`: weights are party 1's, inputs party 0's."""

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
