"""Models of Hugging Face's `transformers`, unmodified: one party has the checkpoint, the others its configuration.

config = configuration("path/of/gpt2")                  # public: the architecture, no weights
model = pretrained(config, "path/of/gpt2", owner=1)     # in every party's program; only party 1 opens the path
logits = model(tokens(ids, config, owner=0)).logits     # in every party's program; only party 0 has ids
"""

import json
from pathlib import Path

import torch

from ..nn import private
from ..runtime.session import Session
from ..runtime.sockets import plain
from ..tensor import SecretTensor, secret
from .vision.checkpoint import CheckpointError

INDEX = "model.safetensors.index.json"
CAUSAL = "AutoModelForCausalLM"


def configuration(path: str):
    """The configuration of a checkpoint in a folder, or of a name that `transformers` knows: what becomes public.

    Raises ValueError for one that asks for code from elsewhere, OSError where there is none.
    """
    return _safe(read(_transformers().AutoConfig, path), path)


def skeleton(config, kind: str = CAUSAL) -> torch.nn.Module:
    """The model of a configuration, with shapes for weights (the meta device): costs no memory, needs no file.

    kind  the class that makes it, "AutoModelForSequenceClassification" say
    """
    _safe(config, "this configuration")
    with torch.device("meta"):
        model = _kind(kind).from_config(config, dtype=torch.float32, trust_remote_code=False)
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
    """The plaintext model of a checkpoint, in evaluation mode and 32-bit floats, from safetensors alone.

    Raises CheckpointError, a ValueError, if weights are missing or cannot be read; OSError where there are none.
    """
    _kind(kind)
    configuration(path)
    model, found = read(_kind(kind), path, dtype=torch.float32, output_loading_info=True, use_safetensors=True)
    if found["missing_keys"]:
        names = ", ".join(sorted(found["missing_keys"])[:3])
        raise CheckpointError(f"{path} has no weights for {names}: is {kind} what it was trained as?")
    return _watched(model.eval(), model.config)


def read(made, path, **options):
    """`made.from_pretrained(path)` for one of transformers' classes, which runs no code from the folder and reads no
    file outside of it.

    Raises CheckpointError for what cannot be read, OSError where there is nothing to read.
    """
    folder = Path(path)
    if folder.is_dir():
        _check_index(folder)
    elif folder.is_absolute() or str(path).startswith((".", "~")):
        raise FileNotFoundError(f"there is no folder {path}: download the checkpoint first, and give its path")
    try:
        return made.from_pretrained(path, trust_remote_code=False, **options)
    except OSError as error:
        if folder.is_dir() and any(folder.glob("pytorch_model*")) and not any(folder.glob("*.safetensors")):
            raise CheckpointError(
                f"{path} has its weights in a pickle, which could run code, and no safetensors: where you trust it, "
                "load it with transformers, and save_pretrained() it anew"
            ) from error
        raise
    except Exception as error:  # what a damaged file leads to: SafetensorError, KeyError, RuntimeError …
        text = plain(str(error), 300)
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}: {text})") from error


def _check_index(folder: Path) -> None:
    """CheckpointError unless the files of a checkpoint in pieces lie beside the list of them."""
    if not (folder / INDEX).exists():
        return
    try:
        files = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / INDEX} is no list of weights ({type(error).__name__}): load it anew"
        ) from error
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{folder / INDEX} names {plain(repr(name), 300)}, which is no file of weights in its own folder"
            )


def _safe(config, where):
    """The configuration, which does not ask for code, or arithmetic, that is not here."""
    code = getattr(config, "_attn_implementation", None)
    if isinstance(code, str) and "/" in code:
        raise ValueError(
            f"{where} asks for code from elsewhere for its attention ({plain(code, 100)}): it is not loaded; "
            'set config._attn_implementation = "sdpa"'
        )
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError(f"{where} is that of quantized weights: take the checkpoint with whole ones, or dequantize it")
    return config


def _kind(kind: str):
    made = getattr(_transformers(), kind, None)
    if not hasattr(made, "from_pretrained"):
        raise ValueError(f"transformers has no class of models {kind!r}: {CAUSAL!r}, say")
    return made


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
