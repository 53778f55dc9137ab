"""`python -m mpckit bench gpt`: does the GPT write under the protocol what it writes in plaintext, how fast?

    perplexity   of held-out text, plain and encrypted, and the largest difference between two logits
    greedy       of 20 beginnings from held-out text, how many go on alike for 64 characters
    a token      on two engines and their dealer: seconds online from one token to the next, and memory
    a layer      of GPT-2's width on 128 tokens, really run in a ring of 52 bits, packed on the wire: its bill is the
                 plan's, and the plan's for twelve layers stays below the bounds; for suite fss
    stories15m, smollm2
                 real models of 15 and 135 million parameters, from archives that you have (`gpt_archives`): how many of
                 24 tokens are those of plaintext

The exit status is 1 where a bound does not hold, and 2 where a case that was named could not run.
"""

import json
import math
import statistics
import time
from functools import partial

import torch
import torch.nn.functional as F

from ..generate import generate
from ..nn import private
from ..runtime.session import Session
from ..runtime.tell import tell
from ..tensor import secret
from ..zoo.language import Characters, gpt, plays
from .agreement_cases import Missing
from .gpt_archives import ARCHIVED, written
from .options import Options

TAKES = ("suite", "samples", "json")
WINDOWS, PROMPTS, BEGINNING, LONG, TOKENS = 16, 20, 24, 64, 24
LEAST, LOGITS, PERPLEXITY, SECONDS, MEMORY = 0.95, 0.05, 0.005, 1.0, 1.6e9  # the bounds
WIDTH, LAYERS = 768, 12
TWELVE, KEYS, ERROR = 0.75e9, 7e9, 0.02  # its bounds: sent and received, keys, error of normalised outputs


def accuracy(suite: str, windows: int = WINDOWS) -> dict:
    """Perplexities and the largest difference of two logits, over windows of held-out text of the model's length."""
    model, text = gpt(pretrained=True), Characters().encode(plays())
    rows = text[: windows * 129].view(windows, 129)
    plain, encrypted, furthest, start = [], [], 0.0, time.process_time()
    with torch.no_grad(), Session(2, suite=suite) as session:
        secret_model = private(model, owner=1)
        for row in rows.split(2):
            x, y = row[:, :-1], row[:, 1:].flatten()
            want, got = model(x), secret_model(secret(F.one_hot(x, model.vocabulary), owner=0)).reveal(to=0)
            for out, losses in ((want, plain), (got, encrypted)):
                losses.append(F.cross_entropy(out.flatten(0, 1), y, reduction="none"))
            furthest = max(furthest, (got - want).abs().max().item())
    a, b = (math.exp(torch.cat(losses).mean().item()) for losses in (plain, encrypted))
    ok = furthest < LOGITS and abs(b / a - 1) <= PERPLEXITY
    return {
        "case": "perplexity", "suite": session.suite.name, "characters": rows.numel() - windows, "plain": a,
        "encrypted": b, "max_diff": furthest, "ok": ok, "cpu_s": time.process_time() - start,
    }  # fmt: skip


def agreement(suite: str, prompts: int = PROMPTS) -> dict:
    """How many beginnings go on alike, greedily, for 64 characters; a batch, so that all of them cost little more."""
    model, text = gpt(pretrained=True), Characters().encode(plays())
    step = len(text) // prompts
    rows, start = torch.stack([text[i * step :][:BEGINNING] for i in range(prompts)]), time.process_time()
    want = torch.stack(list(generate(model, rows, LONG)), 1)
    with Session(2, suite=suite) as session:
        got = torch.stack(list(generate(private(model, owner=1), rows, LONG)), 1)
    alike = int((want == got).all(1).sum())
    return {
        "case": "greedy", "suite": session.suite.name, "prompts": prompts, "characters": LONG, "alike": alike,
        "ok": alike >= LEAST * prompts, "cpu_s": time.process_time() - start,
    }  # fmt: skip


def speed(suite: str) -> dict:
    """A token on engines: median seconds, rounds and bytes of the later half, and the memory of all processes."""
    import psutil

    from ..engines.team import cluster, only

    prompt = Characters().encode(plays())[:BEGINNING]
    with cluster(parties=2, suite=suite) as team:
        stream = team.stream(_program, only(1, gpt(pretrained=True)), only(0, prompt), TOKENS)
        told, most = [], 0
        for row in stream:
            told.append(row)
            own = psutil.Process()
            memory = [p.memory_full_info().pss for p in (own, *own.children(recursive=True))]
            most = max(most, sum(memory))
        report = stream.report
    later = told[len(told) // 2 :]
    seconds = statistics.median(row[0] for row in later)
    return {
        "case": "a token", "suite": suite, "seconds": seconds, "rounds": later[-1][1], "sent": later[-1][2],
        "memory": most, "offline": report.offline_bytes, "ok": seconds <= SECONDS and most < MEMORY,
    }  # fmt: skip


def _program(model, prompt, count):
    model, meter = private(model, owner=1), Session.current().meter
    before, start = meter.total(), time.perf_counter()
    for token in generate(model, prompt, count):
        after, now = meter.total(), time.perf_counter()
        if not token.is_meta:
            sent = sum(after.sent.values()) - sum(before.sent.values())
            tell([now - start, after.rounds - before.rounds, sent])
        before, start = after, now


def layer(suite: str, width: int = WIDTH, tokens: int = 128) -> dict:
    """One layer of a GPT-2 `width` wide, random weights, in both parties' places; what twelve cost is planned."""
    import transformers

    from ..offline.plan import plan
    from ..zoo.hugging import skeleton
    from .plan import RANGE, RING, infer

    def config(layers):  # the text is embedded by its owner, so the vocabulary costs nothing
        sizes = {"n_embd": width, "n_head": max(1, width // 64), "n_positions": tokens, "vocab_size": 2}
        return transformers.GPT2Config(n_layer=layers, bos_token_id=0, eos_token_id=1, **sizes)

    torch.manual_seed(0)
    model, x = transformers.AutoModel.from_config(config(1)).eval(), torch.randn(1, tokens, width)
    start = time.process_time()
    options = {"suite": suite, "truncation": "exact", "ring": RING, "range_bits": RANGE}
    with torch.no_grad(), Session(2, **options) as session:
        for weight in model.parameters():  # also those that begin as 0 or 1
            weight += 0.02 * torch.randn_like(weight)
        out = infer(model, x)
        report = session.report()
        furthest = (out.reveal(to=0) - model(inputs_embeds=x).last_hidden_state).abs().max().item()
    bills = [plan(infer, skeleton(config(n), "AutoModel"), x, **options).report for n in (1, LAYERS)]
    as_planned = all(getattr(report, f)() == getattr(bills[0], f)() for f in ("rounds", "sent"))
    as_planned &= (report.key_bytes, report.offline_bytes) == (bills[0].key_bytes, bills[0].offline_bytes)
    both_ways = 2 * bills[1].sent()  # two parties: as much comes as goes
    return {
        "case": "a layer", "suite": suite, "width": width, "tokens": tokens, "rounds": report.rounds(),
        "sent": report.sent(), "as_planned": as_planned, "max_diff": furthest, "both_ways_12": both_ways,
        "keys_12": bills[1].key_bytes, "cpu_s": time.process_time() - start,
        "ok": as_planned and furthest < ERROR and both_ways <= TWELVE and bills[1].key_bytes <= KEYS,
    }  # fmt: skip


def main(names: list[str], options: Options) -> int:
    """Print a line for each case and suite. Returns the exit status."""
    cases = {  # a token first: its memory is that of all processes, and this one grows by what it has run before
        "token": speed,
        "perplexity": lambda suite: accuracy(suite, options.samples or WINDOWS),
        "greedy": lambda suite: agreement(suite, options.samples or PROMPTS),
        "layer": layer,
    } | {case.name: partial(written, case) for case in ARCHIVED}
    if unknown := [n for n in names if n not in cases]:
        print(f"no case {', '.join(unknown)}; there are: {', '.join(cases)}")
        return 2
    torch.set_num_threads(1)
    status = 0
    for name in names or cases:
        suites = [options.suite] if options.suite else ["fss"] if name == "layer" else ["bits", "fss"]
        for suite in suites:
            try:
                row = cases[name](suite)
            except Missing as reason:
                print(json.dumps({"case": name, "skipped": str(reason)}) if options.json else
                      f"{name:12}SKIPPED: {reason}", flush=True)  # fmt: skip
                status = max(status, 2 if names else 0)
                break
            if not row["ok"]:
                status = 1
            print(json.dumps(row) if options.json else _line(row), flush=True)
    return status


def _line(row: dict) -> str:
    mark = "" if row["ok"] else "   NOT MET"
    if row["case"] == "perplexity":
        text = (
            f"{row['plain']:.4f} plain, {row['encrypted']:.4f} encrypted on {row['characters']} characters "
            f"(bound ± {PERPLEXITY:.1%}); max |Δ logit| {row['max_diff']:.2g} (bound {LOGITS:g})"
        )
    elif row["case"] == "greedy":
        text = f"{row['alike']} of {row['prompts']} prompts go on alike for {row['characters']} characters"
    elif row["case"] == "a layer":
        text = (
            f"{row['width']} wide, {row['tokens']} tokens: {row['rounds']} rounds, {row['sent'] / 1e6:.1f} MB sent, "
            f"{'as' if row['as_planned'] else 'NOT as'} planned; max |Δ| {row['max_diff']:.2g} (bound {ERROR:g}); "
            f"12 layers {row['both_ways_12'] / 1e6:.0f} MB sent and received (bound {TWELVE / 1e6:g}), "
            f"keys {row['keys_12'] / 1e9:.2f} GB (bound {KEYS / 1e9:g})"
        )
    elif row["case"] == "a token":
        text = (
            f"{row['seconds']:.3g} s online on engines, {row['rounds']} rounds, {row['sent'] / 1e3:.0f} kB; "
            f"{row['memory'] / 1e9:.2f} GB in all processes (bounds {SECONDS:g} s, {MEMORY / 1e9:g} GB)"
        )
    else:
        text = (
            f"{row['alike']} of {row['tokens']} tokens as in plaintext, {row['rounds']} rounds and "
            f"{row['sent'] / 1e6:.1f} MB for the last one: {row['text']!r}"
        )
    return f"{row['case']:12}{row['suite']:6}{text}{mark}"
