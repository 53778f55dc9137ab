"""The planner: runs the same program on meta tensors and writes down what it draws, says and costs.

No value is needed: shapes decide everything, except where a program branches on something revealed; what comes
after such a place cannot be planned and is dealt on demand when the program runs. Whole numbers and bools that are no
`only` keep their values: a language model looks at its padding mask, say, to choose a way.
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch.utils._pytree import tree_flatten, tree_map_only

from ..kernels.dry import PLAIN, Dry, answered
from ..protocols.suites import SUITES
from ..runtime.report import Offer, Report, duration, size
from ..runtime.session import KEY_BUDGET, Session


@dataclass(frozen=True)
class Plan:
    """What a program will need.

    draws    the dealer's shopping list, in order
    report   rounds and bytes, exact
    stopped  why planning ended early, if it did
    """

    draws: tuple
    report: Report
    stopped: str | None = None

    def __str__(self):
        note = f"\nplanned only up to a branch on a revealed value ({self.stopped})" if self.stopped else ""
        return f"{self.report}\n{len(self.draws)} draws, {size(self.report.offline_bytes)} from the dealer{note}"


def plan(program, *args, parties: int = 2, **options) -> Plan:
    """Dry run of `program(*args)`; of tensors and modules among the arguments only the shapes count.

    `options` as for `Session`; with suite="auto" every suite for so many parties is tried, and the report says which
    was taken, why, and what each costs (`report.offers`).
    """
    if options.get("suite") != "auto":
        return _plan(program, args, parties, options)
    suites = [name for name, suite in SUITES.items() if suite.parties in (None, parties)]
    plans = [_plan(program, args, parties, options | {"suite": name}) for name in suites]
    chosen, why = _choose([p.report for p in plans], options.get("key_budget", KEY_BUDGET))
    report = replace(plans[chosen].report, why=why, planned=tuple(Offer.of(p.report) for p in plans))
    return replace(plans[chosen], report=report)


def _choose(reports: list[Report], key_budget: int) -> tuple[int, str]:
    """(which of them, why): the fastest on the link whose keys fit the budget."""
    fit = [i for i, report in enumerate(reports) if report.key_bytes <= key_budget]
    times = [Offer.of(report).seconds(report.link) for report in reports]
    best = min(fit, key=times.__getitem__)
    if len(reports) == 1:
        return best, f"the only one for {reports[0].parties} parties"
    out = [f"the keys of {reports[i].suite} take {size(reports[i].key_bytes)}, the budget is {size(key_budget)}"
           for i in range(len(reports)) if i not in fit]  # fmt: skip
    others = ", ".join(f"{duration(times[i])} with {reports[i].suite}" for i in fit if i != best)
    link = reports[best].link.name
    return best, "; ".join([f"{duration(times[best])} on the wire, {link}" + f" ({others})" * bool(others), *out])


def _plan(program, args, parties, options) -> Plan:
    options = {name: value for name, value in options.items() if name != "insecure_seed"}
    session = Session(parties, meta=True, **options)
    stopped = None
    with session, Shapes(), torch.random.fork_rng(devices=[]):
        try:
            program(*(to_meta(a) for a in args))
        except (RuntimeError, TypeError) as error:  # so torch answers a program that asks a meta tensor for its value
            if not any(word in str(error) for word in ("meta", "Meta", "Tensor.__format__")):
                raise
            stopped = str(error).splitlines()[0]
    return Plan(tuple(session.drawn), session.report(), stopped)


# Their rows look at public numbers: whether they are in range, and where a mask holds.
VALUES = {torch.ops.aten.embedding.default, torch.ops.aten.index.Tensor}


class Shapes(Dry):
    """What meets a secret or a shape is a shape: public tensors keep their values among themselves only."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (out := answered(func, args, kwargs)) is not None:
            return out
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        if func in VALUES and type(tensors[0]) not in PLAIN:
            return func(*args, **kwargs)
        if any(t.is_meta or type(t) not in PLAIN for t in tensors):
            args, kwargs = tree_map_only(PLAIN, lambda t: t.to("meta") if type(t) in PLAIN else t, (args, kwargs))
            if "device" in kwargs and all(
                type(t) in PLAIN for t in tensors
            ):  # x.to(y.device): there is nothing to move
                kwargs = kwargs | {"device": torch.device("meta")}
        return func(*args, **kwargs)


def to_meta(value):
    """The same structure with every floating tensor, parameter and buffer on the meta device; nothing is copied."""
    if isinstance(value, torch.nn.Module):
        memo = {id(t): _meta(t) for t in (*value.parameters(), *value.buffers())}
        return copy.deepcopy(value, memo)
    if isinstance(value, torch.Tensor):
        return _meta(value) if value.is_floating_point() or value.is_complex() else value
    if isinstance(value, dict):
        return type(value)((k, to_meta(v)) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        items = [to_meta(v) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _meta(t: torch.Tensor) -> torch.Tensor:
    out = torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta")
    return torch.nn.Parameter(out, t.requires_grad) if isinstance(t, torch.nn.Parameter) else out
