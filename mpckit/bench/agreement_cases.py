"""What `python -m mpckit bench agreement` runs: a model, real samples, and how often both must answer alike."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn, stack

from ..zoo import cifar10, digits, lenet, resnet20
from ..zoo.speech import Keyword, Letters, keyword, letters, spell, spoken_digits, spoken_strings

Batch = tuple[Tensor, list]


class Missing(RuntimeError):
    """The samples of a case are not on this machine; the message says how they get here."""


def top1(logits: Tensor) -> list[int]:
    """The class of each sample: logits [n, classes] → n numbers."""
    return logits.argmax(-1).tolist()


@dataclass(frozen=True)
class Case:
    """A model and the samples on which it has to answer under the protocol as it does in plaintext.

    model    () → a module in evaluation mode; its batch norms are folded before it is made private
    samples  n, or None for as many as the bound is about → batches, each (inputs [b, …] float, b right answers): the
             first n, or all where there are fewer. A batch is classified at once; where lengths differ, batches of one.
             Raises Missing
    answer   outputs of a batch → b answers that can be compared with one another and with the right ones
    least    the share of samples whose answers must be the same
    within   by how much the share of right answers may differ, where that is bounded too
    """

    name: str
    model: Callable[[], nn.Module]
    samples: Callable[[int | None], Iterator[Batch]]
    least: float
    answer: Callable[[Tensor], list] = top1
    within: float | None = None

    @property
    def bound(self) -> str:
        return f"≥ {self.least:.4g} agree" + (f", right ± {self.within:.4g}" if self.within is not None else "")

    def holds(self, agree: float, plain: float, encrypted: float) -> bool:
        return agree >= self.least and (self.within is None or abs(plain - encrypted) <= self.within)


def batches(inputs: Tensor, labels: Tensor, size: int) -> Iterator[Batch]:
    """inputs [n, …] and labels [n] in batches of `size`."""
    for x, y in zip(inputs.split(size), labels.split(size)):
        yield x, y.tolist()


def _digits(n):
    data = digits(min(n or 1000, 1000))
    return batches(data.images, data.labels, 100)


def _cifar10(n):
    path = os.environ.get("MPCKIT_CIFAR10")
    if not path:
        raise Missing(
            "MPCKIT_CIFAR10 names no file; CIFAR-10 cannot be shipped: let it be the path of cifar-10-binary.tar.gz"
        )
    data = cifar10(path)[: n or 200]
    return batches(data.images, data.labels, 20)


def _clips(n):
    data = spoken_digits(min(n or 300, 300))
    return batches(stack([Keyword.features(audio) for audio, _ in data]), data.digits, 100)


def _strings(n):
    for audio, text in spoken_strings(n or 100):
        yield Letters.features(audio)[None], [text]


CASES = [
    Case("lenet", lambda: lenet(pretrained=True), _digits, least=0.995),
    Case("lenet_average", lambda: lenet(pretrained=True, pool="average"), _digits, least=0.995),
    Case("resnet20", lambda: resnet20(pretrained=True), _cifar10, least=0.99),
    Case("keyword", lambda: keyword(pretrained=True), _clips, least=0.99, within=0.005),
    Case("letters", lambda: letters(pretrained=True), _strings, least=0.98, answer=lambda out: [spell(s) for s in out]),
]
