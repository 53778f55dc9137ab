"""Cases of `python -m mpckit bench gpt` with real models that are too large to be shipped, from archives that you have.

MPCKIT_STORIES15M and MPCKIT_SMOLLM2 name the archives that `mpckit.zoo.stories15m` and `mpckit.zoo.smollm2` read.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..generate import generate
from ..nn import private
from ..runtime.session import Session
from ..zoo.language import smollm, smollm2, stories, stories15m
from .agreement_cases import Missing

QUESTION = "<|im_start|>user\nWhat is the capital of Italy?<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Archived:
    """A model in an archive, and what it is to go on from, for `tokens` tokens or up to one of `stop`.

    load     path of the archive → (a causal model of Hugging Face, its tokenizer)
    how      the command that fetches the archive
    encode   its tokenizer → the prompt, ids int64 [n]
    """

    name: str
    load: Callable
    how: str
    encode: Callable
    tokens: int = 24
    stop: tuple[int, ...] = ()

    @property
    def variable(self) -> str:
        return f"MPCKIT_{self.name.upper()}"


ARCHIVED = [
    Archived("stories15m", stories15m, stories.HOW, lambda pieces: pieces.encode("Once upon a time")),
    Archived("smollm2", smollm2, smollm.HOW, lambda t: torch.tensor(t.encode(QUESTION)), stop=(2,)),
]


def written(case: Archived, suite: str) -> dict:
    """One row: greedily, how many tokens are those that it writes in plaintext. Raises Missing."""
    if not (path := os.environ.get(case.variable)):
        raise Missing(f"{case.variable} names no archive; `{case.how}` fetches it")
    model, tokenizer = case.load(path)
    prompt, start = case.encode(tokenizer), time.process_time()
    want = torch.cat(list(generate(model, prompt, case.tokens, stop=case.stop)))
    with Session(2, suite=suite) as session:
        got, bills = [], [(0, 0)]  # rounds and bytes so far
        for token in generate(private(model, owner=1), prompt, case.tokens, stop=case.stop):
            got.append(token)
            report = session.report()
            bills.append((report.rounds(), report.sent()))
    got = torch.cat(got)
    alike = int((want == got).sum()) if len(want) == len(got) else 0
    (rounds, sent), (all_rounds, all_sent) = bills[-2:]
    return {
        "case": case.name, "suite": session.suite.name, "tokens": len(want), "alike": alike, "ok": alike == len(want),
        "text": tokenizer.decode(got[got >= 0]), "rounds": all_rounds - rounds, "sent": all_sent - sent,
        "cpu_s": time.process_time() - start,
    }  # fmt: skip
