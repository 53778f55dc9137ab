"""A text that is written token by token fits where Binder gives 2 GB: kernel, parties, dealer and all."""

import os

import pytest
from notebook_kernel import Notebook

LIMIT = 1.6e9  # bytes; the rest is for Jupyter itself

SETUP = """
import mpckit as mk
from mpckit.zoo import gpt, plays
from mpckit.zoo.language import Characters
def write(model, prompt):
    for token in mk.generate(mk.private(model, owner=1), prompt, 12):
        mk.tell(token)
model, prompt = mk.only(1, gpt(pretrained=True)), mk.only(0, Characters().encode(plays())[:24])
team = mk.cluster(parties=2)
answer = len(team.spmd(lambda: 0))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory is read from /proc")
def test_the_gpt_writes_in_a_notebook_on_binder():
    """Twelve letters after 24; twice as many in `mpckit bench gpt token`."""
    notebook = Notebook()
    try:
        assert notebook.run(SETUP) == "2"
        for suite in ("bits", "fss"):
            cell = f"told = len(list(team.stream(write, model, prompt, suite={suite!r}))); assert told == 12"
            most, reply = notebook.most_memory(cell)
            print(f"{suite}: {most / 1e6:.0f} MB with two parties, the dealer and the kernel")
            assert reply["status"] == "ok" and 0.3e9 < most < LIMIT, reply
    finally:
        notebook.close()
