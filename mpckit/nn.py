"""Models: `private` makes a torch module's weights secret; `check` says beforehand whether it will run."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils._pytree import tree_leaves

from .aten.layers import FOLDED, Folded, rms_norm
from .cell import SecretError, constant_shares
from .offline.plan import Plan, plan
from .ring import RangeError
from .runtime.report import size
from .runtime.session import Session
from .tensor import SecretTensor, answer, describe, on_dispatch, replace, secret

AT_ONCE = 1 << 26  # words of weights that are shared in one round, where a session has a `weight_memory`
# transformers writes these out in powers and tanh; they are one function of one variable, and one table here. Named in
# full: a class of one's own that is called so may compute something else.
GELUS = {f"transformers.activations.{name}" for name in ("NewGELUActivation", "FastGELUActivation")}

# … and norms in squares, means, roots and two products.
RELATIVES = ("Llama", "Mistral", "Qwen2", "Qwen3")
RMS_NORMS = {
    "torch.nn.modules.normalization.RMSNorm",
    *(f"transformers.models.{name.lower()}.modeling_{name.lower()}.{name}RMSNorm" for name in RELATIVES),
}


def private(model: torch.nn.Module, owner: int) -> torch.nn.Module:
    """A copy of `model` with secret parameters and floating buffers; `owner` knows them, others pass meta tensors.

    The set-up phase of a run: weights are shared, and matrices and filters put under persistent masks, once per model;
    each inference then opens activations only. Public become the architecture, shapes, integer buffers (masks,
    positions), and buffers that torch never saves since they follow from the architecture (`persistent=False`: rotary
    frequencies). The plaintext model is left as it was. Tied weights stay tied. Raises ValueError for an owner who has
    meta tensors only, or parameters in a plain list; TypeError for parameters and buffers that are neither numbers with
    a fraction nor structure; RangeError at the owner, before anything is sent, for weights that do not fit the ring.
    """
    session = Session.current()
    plain = _unique([*model.parameters(), *model.buffers()])
    if any(isinstance(t, SecretTensor) for t in plain):
        raise SecretError("this model is private already")
    for name, t in [*model.named_parameters(), *model.named_buffers()]:
        if t.is_complex() or t.is_quantized or (isinstance(t, torch.nn.Parameter) and not t.is_floating_point()):
            raise TypeError(
                f"{name} is a {t.dtype}, which cannot be shared: convert the model first, model.float() say"
            )
    _refuse_unlisted(model, {id(t) for t in plain})
    structure = _structure(model)
    if owner in session.here and not session.meta:
        _check_range(model, session.ring, structure)
    floats = [t for t in plain if t.is_floating_point() and id(t) not in structure]
    folds = list(_folds(model))
    with session.meter.phase_of("setup"), session.scope("private"):
        shared = _shared(session, [t.detach() for t in floats] + [v for _, pair in folds for v in pair], owner, [
            # A product meets matrices and filters; a vector is added, or multiplied once in a while.
            i for i, t in enumerate(floats) if t.dim() >= 2 and isinstance(t, torch.nn.Parameter)
        ])  # fmt: skip
        memo = _publish([t for t in plain if not t.is_floating_point() or id(t) in structure], owner, session)
    secrets = [SecretTensor(value, session) for value in shared]
    for t, out in zip(floats, secrets):
        memo[id(t)] = torch.nn.Parameter(out, t.requires_grad) if isinstance(t, torch.nn.Parameter) else out
    for (layer, _), factor, summand in zip(folds, secrets[len(floats) :: 2], secrets[len(floats) + 1 :: 2]):
        sources = [memo[id(t)] if t is not None else None for t in _statistics(layer)]
        FOLDED[memo[id(layer.running_var)].cell] = Folded.of(factor, summand, layer.eps, sources)
    secret_model = copy.deepcopy(model, memo)
    for module in secret_model.modules():
        if getattr(module, "inplace", False):  # the same values; but a secret's views share no memory to write into
            module.inplace = False
        for name, child in module.named_children():
            if _full_name(child) in GELUS:
                setattr(module, name, torch.nn.GELU("tanh"))
        if isinstance(module, torch.nn.modules.padding._CircularPadNd):
            module.forward = partial(_circular, module.padding)
        elif getattr(module, "padding_mode", None) == "circular":  # a convolution
            sides = module._reversed_padding_repeated_twice
            module.padding_mode, module.padding = "zeros", (0,) * len(module.kernel_size)
            module.register_forward_pre_hook(lambda _, inputs, sides=sides: (_circular(sides, *inputs),))
        if _full_name(module) in RMS_NORMS:
            module.forward = partial(rms_norm, module)
        if hasattr(module, "generate") and hasattr(module, "get_input_embeddings"):
            module.generate = _refuse_generate
        if (look := getattr(module, "warn_if_padding_and_no_attention_mask", None)) is not None:
            module.warn_if_padding_and_no_attention_mask = partial(_unless_secret, look)
    _name_layers(secret_model, session)
    secret_model.register_forward_hook(_finish)
    return secret_model


def _check_range(model, ring, structure: set[int]) -> None:
    """RangeError that names the first weight, or the batch norm, of which a number does not fit the ring, nan say."""
    weights = [(n, t) for n, t in [*model.named_parameters(), *model.named_buffers()] if id(t) not in structure]
    norms, names = list(_folds(model)), {module: name for name, module in model.named_modules()}
    folded = [(f"{names[layer]}, its variance and mean folded", t) for layer, pair in norms for t in pair]
    for name, t in [*weights, *folded]:
        if t.is_meta or not t.is_floating_point() or not t.numel():
            continue
        try:
            ring.encode(torch.stack(t.detach().to(torch.promote_types(t.dtype, torch.float32)).aminmax()))
        except RangeError as error:
            raise RangeError(f"{name}: {error}") from None


def _shared(session: Session, values: list[torch.Tensor], owner: int, matrices: list[int]) -> list:
    """All values shared, and those numbered in `matrices` put under masks: at once, or where the session keeps only
    what is public of them group by group, so that the pieces of a few are there at a time.
    """
    out, groups = dict.fromkeys(range(len(values))), [list(range(len(values)))]
    if session.weight_memory is not None:
        others = [i for i in out if i not in set(matrices)]
        groups, words = [others], AT_ONCE
        for i in matrices:
            if words + values[i].numel() > AT_ONCE:
                words, groups = 0, [*groups, []]
            groups[-1].append(i)
            words += values[i].numel()
    for group in filter(None, groups):
        out |= zip(group, session.share_all([values[i] for i in group], owner))
        masked = [i for i in matrices if i in set(group)]
        with session.scope("fix"):
            out |= zip(masked, session.keep(session.fix(*(out[i] for i in masked))))
    return list(out.values())


def _full_name(module: torch.nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _circular(sides, x: torch.Tensor) -> torch.Tensor:
    """As F.pad(x, sides, "circular"), which writes into a view."""
    for i, (before, after) in enumerate(zip(sides[::2], sides[1::2]), 1):
        size = x.shape[-i]
        x = torch.cat([x.narrow(-i, size - before, before), x, x.narrow(-i, 0, after)], -i)
    return x


def _refuse_generate(*_, **__):
    raise SecretError("generate() of transformers chooses from scores in clear: mk.generate(model, prompt, n) does not")


def _unless_secret(look, ids, *args, **kwargs):
    """transformers looks for padding among the tokens, to warn of it; where they are secret nobody can tell."""
    if not isinstance(ids, SecretTensor):
        look(ids, *args, **kwargs)


def _unique(tensors) -> list[torch.Tensor]:
    return list({id(t): t for t in tensors}.values())


def _refuse_unlisted(model: torch.nn.Module, listed: set[int]) -> None:
    """ValueError for parameters that torch does not list: they would stay as they are, in clear."""
    for where, module in model.named_modules():
        for name, kept in vars(module).items():
            for item in kept.values() if isinstance(kept, dict) else kept if isinstance(kept, (list, tuple)) else ():
                inside = item.parameters() if isinstance(item, torch.nn.Module) else [item]
                if any(isinstance(p, torch.nn.Parameter) and id(p) not in listed for p in inside):
                    raise ValueError(
                        f"{where + '.' if where else ''}{name} is a {type(kept).__name__} with parameters that torch "
                        "does not list as the model's: they would stay in clear. Keep them in an nn.ParameterList, "
                        "nn.ModuleList or one of the Dicts"
                    )


def _structure(model) -> set[int]:
    """Floating buffers that no checkpoint has, by id: they follow from the architecture, as integer buffers do."""
    saved = {id(t) for t in model.state_dict(keep_vars=True).values()}
    return {id(t) for t in model.buffers() if t.is_floating_point() and id(t) not in saved}


def _publish(tensors, owner: int, session: Session) -> dict[int, torch.Tensor]:
    """Buffers in clear, all in one round: id → tensor."""
    if not tensors:
        return {}
    words = [t.detach().reshape(-1) for t in tensors]
    words = [w.double().view(torch.int64) if w.is_floating_point() else w.to(torch.int64) for w in words]
    parts = session.publish(torch.cat(words), owner).split([t.numel() for t in tensors])
    parts = [w.view(torch.float64) if t.is_floating_point() else w for t, w in zip(tensors, parts)]
    return {id(t): part.view(t.shape).to(t.dtype) for t, part in zip(tensors, parts)}


def _statistics(layer) -> tuple:
    return layer.weight, layer.bias, layer.running_mean, layer.running_var


def _folds(model) -> Iterator[tuple[torch.nn.Module, tuple[torch.Tensor, torch.Tensor]]]:
    """Batch norms with their statistics as one factor and one summand: the owner takes the root in plaintext."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and layer.running_var is not None:
            weight, bias, mean, var = (None if t is None else t.detach() for t in _statistics(layer))
            factor = torch.rsqrt(var + layer.eps) * (1 if weight is None else weight)
            yield layer, (factor, (0 if bias is None else bias) - mean * factor)


def _finish(module, inputs, output):
    """What waits for its truncation (`aten/waiting.py`) waits inside the model: what leaves it is paid for."""
    for out in tree_leaves(output):
        if isinstance(out, SecretTensor) and out.public is None:
            out.shared  # noqa: B018  (taking the shares is the price)


def _name_layers(module: torch.nn.Module, session: Session, prefix: str = "", named: set | None = None) -> None:
    """Book costs on the module that causes them: its name is on the meter's path while its forward runs."""
    named = set() if named is None else named
    for name, child in module.named_children():
        if isinstance(child, (torch.nn.ModuleList, torch.nn.ModuleDict)):  # never called themselves
            _name_layers(child, session, f"{prefix}{name}.", named)
        elif child not in named:  # one that is shared keeps its first name
            named.add(child)
            child.register_forward_pre_hook(lambda *_, name=prefix + name: session.meter.push(name))
            child.register_forward_hook(lambda *_: session.meter.pop(), always_call=True)
            _name_layers(child, session, "", named)


# ---- before a run ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """`missing`: operators without a row, each with the shapes it met; `plan`: what one inference costs, if none is."""

    missing: dict[str, list[str]]
    plan: Plan

    def __bool__(self):
        return not self.missing and self.plan.stopped is None

    def __str__(self):
        report, link = self.plan.report, self.plan.report.link
        wire = link.seconds(report.rounds(), report.sent())
        lines = [f"  {name}: {'; '.join(shapes)}" for name, shapes in self.missing.items()]
        head = f"{len(lines)} operators have no row (mpckit/aten):" if lines else "every operator has a row"
        cost = (
            f"one inference: {report.rounds()} rounds, {size(report.sent())} sent by each party, "
            f"{size(report.offline_bytes)} from the dealer, {size(report.sent('setup'))} to set up; "
            f"{wire:.3g} s on {link.name} besides the computing"
        )
        counted = ", not counting what is missing" if lines else ""
        counted += f"; planned only up to: {self.plan.stopped}" if self.plan.stopped else ""
        return "\n".join([head, *lines, cost + counted])

    __repr__ = __str__


def _imagined(operator, args, kwargs):
    """A secret of the shape that the operator would give."""
    session = Session.current()
    args, kwargs = (
        replace(v, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), torch.Tensor) for v in (args, kwargs)
    )
    out = operator(*args, **kwargs)
    return replace(out, lambda t: SecretTensor(constant_shares(t, session), session), torch.Tensor)


def check(model: torch.nn.Module, *examples, parties: int = 2, **options) -> Check:
    """Dry run of model(*examples), under torch.no_grad(): weights and floating examples secret, integers (ids) public.

    Where gradients are kept a norm costs more, since they will ask for its mean and deviation.

    Shapes count, values do not. Lists all operators without a row, not just the first. `options` as for `Session`.
    """
    missing: dict[str, list[str]] = {}

    def note(operator, args, kwargs):
        try:
            return answer(operator, args, kwargs)
        except NotImplementedError as error:
            # A step of torch's own definition: the operator itself is missing. "meta": a shape was asked for its value.
            if operator.namespace == "prims" or "meta" in str(error):
                raise
            shapes = missing.setdefault(str(operator), [])
            if (met := describe((*args, *kwargs.values()))) not in shapes:
                shapes.append(met)
            return _imagined(operator, args, kwargs)

    def inference(model, *examples):
        floating = [isinstance(x, torch.Tensor) and x.is_floating_point() for x in examples]
        with torch.no_grad():
            private(model, owner=1)(*(secret(x, owner=0) if f else x for x, f in zip(examples, floating)))

    token = on_dispatch.set(note)
    try:
        return Check(missing, plan(inference, model, *examples, parties=parties, **options))
    finally:
        on_dispatch.reset(token)
