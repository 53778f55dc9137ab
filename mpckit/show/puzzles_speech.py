"""The puzzles of notebook 11: what features tell, letters from steps, keeping up. Solutions: notebooks/solutions."""

import torch

from ..nn import private
from ..offline.plan import plan
from ..runtime.meter import LAN, MOBILE, WAN, Link
from ..tensor import secret
from .puzzle import Finding, puzzle

STEPS = ("--ss-ii-xx--", "th-r-ee-e--", "zzeroo", "--", "f-oouur  -  ttwwo-", "nn-nn", " -seven- ")
SAYS = ("six", "three", "zero", "", "four two", "nn", "seven")
SLOW = Link("satellite", rtt=0.6, bandwidth=2e6 / 8)


@puzzle(
    "A voice colours every frame. Forget the order of the frames: features.mean(1) is forty numbers, one a band.",
    "Compare those numbers, and features.std(1) beside them, with those of every known clip; the nearest one is "
    "probably the same voice.",
    "print_of = lambda f: torch.cat((f.mean(1), f.std(1))); return min(known, key=lambda k: (print_of(k[0]) - "
    "print_of(features)).norm())[1]",
)
def who_speaks(answer):
    known, asked = _voices()
    answers = [answer(features, known) for features, _ in asked]
    if wrong := [a for a in answers if a not in {name for _, name in known}]:
        yield Finding("right", False, f"return the name of a speaker, not {wrong[0]!r}")
        return
    right = sum(a == name for a, (_, name) in zip(answers, asked))
    yield Finding("leak", right >= 50, f"names {right} of 60 speakers from features alone; chance names 10")


@puzzle(
    "A network says a letter in every step, and often the same one several times. First say each run once.",
    "Then drop the blanks '-'. In this order: a blank between two equal letters keeps both.",
    "itertools.groupby(steps) has one entry for each run: ''.join(k for k, _ in groupby(steps)).replace('-', '')",
    "Spaces: ' '.join(text.split()) says each of them once, and none at the ends.",
)
def collapse(answer):
    for steps, want in zip(STEPS, SAYS):
        got = answer(steps)
        if got != want:
            yield Finding("right", False, f"{steps!r} says {want!r}, not {got!r}")
            return
    yield Finding("right", True, "repeats, blanks, doubled letters, spaces, and silence")
    from ..zoo.speech import LETTERS, Letters, letters, spoken_strings

    model = letters(pretrained=True)
    for audio, _ in spoken_strings(3, seed=3):
        with torch.no_grad():
            best = model(Letters.features(audio)[None])[0].argmax(0)
        text = answer("".join(LETTERS[k] for k in best))
    yield Finding("spoken", text == " ".join(text.split()) and len(text) > 5, f"the last of three recordings: {text!r}")


@puzzle(
    "link.seconds(rounds, sent, compute) is what a chunk takes. It keeps up if that is no more than the chunk lasts.",
    "Try the lengths from the shortest to the longest, and return the first that keeps up.",
    "for length in sorted(prices): if link.seconds(*prices[length]) <= length: return length. Without one: None.",
)
def keeps_up(answer):
    prices = _prices()
    for link in (LAN, WAN, MOBILE, SLOW):
        good = [length for length in sorted(prices) if link.seconds(*prices[length]) <= length]
        want, got = good[0] if good else None, answer(dict(prices), link)
        if got != want:
            why = "no length keeps up" if want is None else f"{want} s is the shortest that keeps up"
            yield Finding("right", False, f"on {link.name} {why}, not {got}")
            return
        yield Finding("right", True, f"on {link.name}: {'none' if want is None else f'chunks of {want} s'}")


def _voices():
    """(known, asked): features [40, frames] with the speaker's name; another take of every word."""
    from ..zoo.speech import level, log_mel, spoken_digits

    clips = spoken_digits()
    pairs = [(log_mel(level(clips[i][0]), 128), str(clips.speakers[i])) for i in range(len(clips))]
    return tuple([pair for pair, take in zip(pairs, clips.takes) if take == k] for k in (0, 1))


def _prices() -> dict[float, tuple[int, int, float]]:
    """Seconds of a chunk → (rounds, bytes, seconds of computing on some machine)."""
    from ..zoo.speech import Letters, letters

    def program(features, model):
        return private(model, owner=1)(secret(features, owner=0)).reveal(to=0)

    prices = {}
    for length in (0.2, 0.5, 1.0, 2.0):
        frames = Letters.field + Letters.stride * (round(length / 0.02) - 1)
        report = plan(program, torch.zeros(1, 40, frames), letters()).report
        prices[length] = report.rounds(), report.sent(), 0.02 + 0.05 * length
    return prices
