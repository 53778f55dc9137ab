"""Models of Hugging Face's `transformers`, unmodified: one party has the checkpoint, the others its configuration.

config = configuration("path/of/gpt2")                  # public: the architecture, no weights
model = pretrained(config, "path/of/gpt2", owner=1)     # in every party's program; only party 1 opens the path
logits = model(tokens(ids, config, owner=0)).logits     # in every party's program; only party 0 has ids
"""

import torch

from ..nn import private
from ..runtime.session import Session
from ..tensor import SecretTensor, secret

CAUSAL = "AutoModelForCausalLM"


def configuration(path: str):
    """The configuration of a checkpoint in a folder, or of a name that `transformers` knows: what becomes public."""
    return _transformers().AutoConfig.from_pretrained(path)


def skeleton(config, kind: str = CAUSAL) -> torch.nn.Module:
    """The model of a configuration, with shapes for weights (the meta device): costs no memory, needs no file.

    kind  the class that makes it, "AutoModelForSequenceClassification" say
    """
    with torch.device("meta"):
        model = getattr(_transformers(), kind).from_config(config, dtype=torch.float32)
    return _watched(model.eval(), config)


def pretrained(config, path: str, owner: int, kind: str = CAUSAL) -> torch.nn.Module:
    """A private model: party `owner` reads the weights in folder `path` (or of that name), the others never open it.

    Weights are shared once, and once those that are tied. Raises ValueError at the owner, before anything is sent,
    for a checkpoint that is not one of this configuration. The model raises IndexError for public tokens that it does
    not know, and ValueError for more tokens than it has positions.
    """
    session, model = Session.current(), skeleton(config, kind)
    if owner in session.here and not session.meta:
        model = _checked(load(path, kind), model, path)
    return private(model, owner)


def load(path: str, kind: str = CAUSAL) -> torch.nn.Module:
    """The plaintext model of a checkpoint, in evaluation mode and 32-bit floats. ValueError if weights are missing."""
    model, found = getattr(_transformers(), kind).from_pretrained(
        path, dtype=torch.float32, output_loading_info=True
    )  # fmt: skip
    if found["missing_keys"]:
        names = ", ".join(sorted(found["missing_keys"])[:3])
        raise ValueError(f"{path} has no weights for {names}: is {kind} what it was trained as?")
    return _watched(model.eval(), model.config)


def tokens(ids, config, owner: int) -> SecretTensor:
    """Token ids [batch, length] as a secret of party `owner`, who alone has them (others pass shapes).

    Raises IndexError at the owner, before anything is sent, for a token that the model does not know: once ids are
    secret nobody can tell.
    """
    ids = torch.as_tensor(ids)
    _known(ids, config)
    return secret(ids, owner)


def _checked(model, expected, path):
    got, want = ({n: tuple(t.shape) for n, t in m.state_dict().items()} for m in (model, expected))
    if got != want:
        name = next(n for n in (*want, *got) if got.get(n) != want.get(n))
        raise ValueError(
            f"{path} is no checkpoint of this configuration: {name} is {got.get(name)} there, {want.get(name)} here"
        )
    return model


def _watched(model, config):
    """The model looks at what it is given before it computes, also in a plan."""

    def look(_, args, kwargs):
        given = kwargs.get("input_ids", args[0] if args else kwargs.get("inputs_embeds"))
        if not isinstance(given, torch.Tensor) or not hasattr(config, "vocab_size"):
            return
        past = kwargs.get("past_key_values")
        length = given.shape[1] + (past.get_seq_length() if past is not None else 0)
        most = getattr(config, "max_position_embeddings", None)
        if most is not None and length > most:
            raise ValueError(f"{length} tokens are more than the {most} positions of this model: cut the text")
        if not isinstance(given, SecretTensor):
            _known(given, config)

    model.register_forward_pre_hook(look, with_kwargs=True)
    return model


def _known(ids, config):
    if ids.is_meta or ids.is_floating_point() or not ids.numel():
        return
    wrong = ids[(ids < 0) | (ids >= config.vocab_size)]
    if wrong.numel():
        raise IndexError(f"token {int(wrong[0])} is unknown to this model: it knows 0 to {config.vocab_size - 1}")


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise ImportError("models of Hugging Face need transformers: pip install 'mpckit[hf]'") from error
    return transformers
