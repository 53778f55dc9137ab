"""`python -m mpckit bench [which [name …]]`: every figure that the kit states comes from one of these commands.

    costs       rounds, bytes and seconds of protocols and models; the one that is meant if none is named
    accuracy    the worst error of each function over its whole domain
    agreement   how often a model answers under the protocol as it does in plaintext
    engines     an inference on real engines: what takes the time, and whether the prediction holds
    events      what it costs that the notebook hears every word
    plan        the bill of language models of full size, from shapes alone
    speech      whether secure transcription keeps up with the speaker
    gpt         whether the small GPT writes the same, a token on engines, and a layer of GPT-2's size
    fss         keys per second and core
    kernels     what a device does in a second, kernel by kernel
    shapes      transformers of well-known shapes, with random weights
    gpu         the page docs/gpu.md; the one that is meant if none is named and the device is a GPU

A bench is a module with `main(names, options)`, which prints and returns the exit status, and `TAKES`, the options that
it heeds; any other is refused rather than ignored.
"""

import sys
from importlib import import_module

from ..runtime import device as devices
from ..runtime.session import Session
from . import models  # noqa: F401  (adds its cases)
from .cases import CASES
from .options import Options

BENCHES = (
    "costs",
    "fss",
    "engines",
    "events",
    "accuracy",
    "agreement",
    "plan",
    "speech",
    "gpt",
    "kernels",
    "shapes",
    "gpu",
)

__all__ = ["BENCHES", "CASES", "Options", "main"]


def main(names: list[str], options: Options) -> int:
    """Run the bench that the first name says; if it says none `costs`, on a GPU `gpu`. Returns the exit status."""
    first, *rest = names or ["costs" if options.device in (None, "cpu") else "gpu"]
    bench, names = (first, rest) if first in BENCHES else ("costs", names)
    if bench == "costs" and (unknown := [n for n in names if n not in CASES]):
        print(f"no case {', '.join(unknown)}; benches are: {' '.join(BENCHES)}; cases of costs: {' '.join(CASES)}")
        return 2
    module = import_module(f".{bench}", __name__)
    if ignored := [name for name in options.given() if name not in module.TAKES]:
        print(f"`bench {bench}` takes no --{', --'.join(ignored)}; it takes --{', --'.join(module.TAKES)}")
        return 2
    try:
        devices.usable(options.device or "cpu")
        Session(2 if options.parties is None else options.parties, suite=options.suite)
    except (RuntimeError, ValueError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2
    return module.main(names, options)
