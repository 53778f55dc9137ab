"""A protocol's conversation one word at a time: `next()`, or a button."""

from collections.abc import Callable
from html import escape

import torch

from ..ring import Ring
from ..runtime.round import spoken
from ..runtime.session import Session
from ..runtime.transcript import Said, innermost
from ..share import AShare, BShare, join
from .display import Picture
from .sequence import chart, heard
from .source import excerpt
from .twin import Twin
from .values import words as in_words

SMALL = Ring(8, 0)  # integers modulo 256: to follow by hand


class Stepper:
    """What `stepper` returns. `next(it)` has the parties say one word and answers it; then it is a `Step` to print.

    `steps` are those so far, `result` what the parties' generators returned, once they have, `value` their sum.
    """

    def __init__(self, protocol: Callable, args: tuple, parties: int, options: dict):
        self._make = lambda: Session(parties, record=True, **options)
        self._protocol, self._args = protocol, args
        self._widget = None
        self.again()

    def again(self) -> "Stepper":
        """Back to the start, with fresh masks."""
        self.session = self._make()
        parties = self.session.parties
        shared = [self.session.share(a, k % parties) for k, a in enumerate(self._args)]
        self._inputs = len(self.session.transcript.words)
        made = (self._protocol(*(each.shares[i] for each in shared)) for i in range(parties))
        self._parties = [spoken(generator, self._protocol) for generator in made]
        self._replies = [None] * len(self._parties)
        self.steps: list[Step] = []
        self.result: list | None = None
        return self

    @property
    def transcript(self):
        """What was said since the inputs were shared."""
        transcript = type(self.session.transcript)()
        transcript.words = self.session.transcript.words[self._inputs :]
        transcript += [message for said in transcript.words for message in said.messages]
        return transcript

    @property
    def value(self):
        """The result of all parties together; None before the end, or where it is no share."""
        shares = self.result or [None]
        return join(shares) if isinstance(shares[0], (AShare, BShare)) else None

    def __iter__(self):
        return self

    def __next__(self) -> "Step":
        if self.result is not None:
            raise StopIteration(self.result)
        asks, done = [], []
        for party, reply in zip(self._parties, self._replies):
            try:
                asks.append(party.send(reply))
            except StopIteration as stop:
                done.append(stop.value)
        if done:
            self.result = done
            raise StopIteration(done)
        bits = self.session.ring.bits
        seen = [_variables(party, bits) for party in self._parties]
        now = self.session.clock.now()  # how long somebody looked at a step is not what it took
        self._replies = self.session.answer(self._parties, asks, dict.fromkeys(range(len(asks)), (now, now)))
        self.steps.append(Step(len(self.steps) + 1, self.session.transcript.words[-1], seen, bits))
        return self.steps[-1]

    def text(self) -> str:
        """All steps so far, and the end."""
        parts = [str(step) for step in self.steps] or ["nothing said yet: next(it)"]
        if self.result is not None:
            pieces = " and ".join(in_words(piece) for piece in self.result)
            together = f", together {in_words(self.value)}" if self.value is not None else ""
            parts.append(f"the end: the parties have {pieces}{together}")
        return "\n\n".join(parts)

    def __str__(self):
        return self.text()

    __repr__ = __str__

    def still(self) -> Picture:
        """The chart of what was said so far."""
        words = [step.said for step in self.steps]
        picture = chart(words, len(words))
        return Picture(picture, f"{picture.alt} {self.text()}")

    @property
    def widget(self):
        """The button and what was said."""
        if self._widget is None:
            self._widget = _widget(self)
        return self._widget

    def _ipython_display_(self):
        Twin(self.widget, self.still).show()


class Step:
    """One word: what was said, from which line, with what in each party's hands, and what was answered."""

    def __init__(self, number: int, said: Said, variables: list[dict[str, str]], bits: int):
        self.number, self.said, self.variables, self.bits = number, said, variables, bits

    def __str__(self):
        said = self.said
        lines = [f"{self.number} · {said.text}", *(excerpt(place) for place in said.places)]
        for party, names in enumerate(self.variables):
            has = ", ".join(f"{name} = {value}" for name, value in names.items())
            lines += [f"  party {party} has {has}"] if has else []
        return "\n".join(lines + [f"  answered · {line}" for line in heard(said, bits=self.bits)])

    __repr__ = __str__


def _variables(generator, bits: int) -> dict[str, str]:
    """Tensors and shares that the suspended protocol has under a name."""
    frame = getattr(innermost(generator), "gi_frame", None)
    held = {} if frame is None else frame.f_locals
    kinds = torch.Tensor, AShare, BShare
    return {name: in_words(value, 3, bits) for name, value in held.items() if isinstance(value, kinds)}


def _widget(stepper):
    import ipywidgets as widgets

    forward, back = widgets.Button(description="next word", icon="step-forward"), widgets.Button(description="again")
    log, live = widgets.HTML(), widgets.HTML()

    def draw(said):
        log.value = f"<pre style='line-height:1.35;overflow-x:auto'>{escape(stepper.text())}</pre>"
        live.value = f"<span role='status'>{escape(said)}</span>"
        forward.disabled = stepper.result is not None

    def advance(button):
        step = next(stepper, None)
        draw(f"step {step.number}: {step.said.word}" if step else "the end")

    def restart(button):
        stepper.again()
        draw("at the start")

    forward.on_click(advance)
    back.on_click(restart)
    draw(f"{len(stepper.steps)} words so far")
    return widgets.VBox([widgets.HBox([forward, back, live]), log])


def stepper(protocol: Callable, *args, parties: int = 2, ring: Ring = SMALL, **options) -> Stepper:
    """Step through `protocol(*args)`: each argument is shared by party 0, 1, … in turn, and then the parties speak.

        it = stepper(mul, torch.tensor(6), torch.tensor(7))
        print(next(it))          # Draw: the dealer hands out a triple
        print(next(it))          # Open: both masked factors
        list(it), it.value       # on to the end

    As a cell's last line it is a button. `options` as for `Session`; numbers are small unless `ring` says otherwise.
    """
    return Stepper(protocol, args, parties, {"ring": ring, **options})
