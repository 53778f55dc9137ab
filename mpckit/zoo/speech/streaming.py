"""A transcript while the speaker speaks: audio in chunks that overlap, each said by the secret network as it comes.

A step of the network sees a stretch of audio around it, its field, and nothing else. Chunks overlap by that, so the
steps of all chunks, one after another, are those of the whole recording, up to the rounding of floats in plaintext and
of fixed point under shares. Of a live recording the text lags 0.35 s behind at least: so far ahead looks a step.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...nn import private
from ...runtime.session import Session
from ...tensor import secret
from .audio import check_audio, check_shape
from .features import MELS, RATE, WINDOW, log_mel
from .networks import spell


@dataclass(frozen=True)
class Chunk:
    """A stretch of a recording, ready to be shared.

    features   [1, 40, frames], as many frames in every chunk; a meta tensor where the recording is one
    steps      how many of the network's steps belong to the recording: in the last chunk the rest is silence
    end        seconds of the recording that are transcribed after it
    """

    features: Tensor
    steps: int
    end: float


@dataclass(frozen=True)
class Heard:
    """What the client knows after a chunk; the others know `end` and `seconds`.

    text      all that was said so far          scores    [letters, steps] of this chunk; a meta tensor elsewhere
    end       seconds of audio transcribed      seconds   that the chunk took, from its features to its scores
    """

    text: str | None
    scores: Tensor
    end: float
    seconds: float


def chunks(model: nn.Module, audio: Tensor, seconds: float = 1.0) -> Iterator[Chunk]:
    """Cut a recording [samples] at 8 kHz for `model`, whose `hop`, `stride` and `field` say what a step sees.

    All chunks have one shape, so one plan serves them all. Raises AudioError as `check_audio` (for a meta tensor, as
    `check_shape`), ValueError for chunks that are shorter than a step.
    """
    check_shape(audio, RATE)
    if not audio.is_meta:
        check_audio(audio, RATE)
    step = model.hop * model.stride
    if (count := round(seconds * RATE / step)) < 1:
        raise ValueError(f"chunks of {seconds} s: a step takes {step / RATE} s, so the shortest chunk does too")
    length = model.hop * (model.field + model.stride * (count - 1) - 1) + WINDOW
    total, samples = model.steps(len(audio)), len(audio)
    whole = nn.functional.pad(model.surrounded(audio), (0, count * step))
    for first in range(0, total, count):
        kept = min(count, total - first)
        end = min(samples, (first + kept) * step) / RATE
        if audio.is_meta:
            yield Chunk(torch.empty(1, MELS, (length - WINDOW) // model.hop + 1, device="meta"), kept, end)
        else:
            yield Chunk(log_mel(whole[first * step : first * step + length], model.hop)[None], kept, end)


def stream(
    model: nn.Module, audio: Tensor, chunk_seconds: float = 1.0, owner: int = 0, live: bool = False
) -> Iterator[Heard]:
    """Transcribe a recording chunk by chunk, in a session: `model` is private, `audio` is party `owner`'s.

    Elsewhere `audio` is a meta tensor: its length is public. The scores are revealed to `owner`, who spells them.
    `live=True` plays the recording: a chunk is there when it would have been said, not before. Errors as `chunks`,
    before anything of the recording is sent.
    """
    session, said, start = Session.current(), [], time.monotonic()
    for chunk in chunks(model, audio, chunk_seconds):
        if live and not session.meta:
            time.sleep(max(0.0, start + chunk.end - time.monotonic()))
        begun = time.perf_counter()
        with torch.no_grad():
            scores = model(secret(chunk.features, owner)).reveal(to=owner)[0, :, : chunk.steps]
        said.append(scores)
        text = None if scores.is_meta else spell(torch.cat(said, 1))
        yield Heard(text, scores, chunk.end, time.perf_counter() - begun)


def transcribe(model: nn.Module, audio: Tensor, chunk_seconds: float = 1.0, live: bool = False) -> list[Heard]:
    """The program for a team: `team.run(transcribe, only(1, letters(pretrained=True)), only(0, audio))`.

    Party 0 tells the notebook after every chunk: `team.events.subscribe` hears {"phase": "heard", "text": …, "end": …,
    "seconds": …}. So the notebook shows what was said while more is being said.
    """
    model, out = private(model, owner=1), []
    for heard in stream(model, audio, chunk_seconds, live=live):
        out.append(heard)
        if heard.text is not None:
            Session.current().tell(phase="heard", text=heard.text, end=heard.end, seconds=heard.seconds)
    return out
