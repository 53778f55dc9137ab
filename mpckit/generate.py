"""Text from a language model whose weights, input and output are secret: only the client learns what was written.

A step reads the newest token as a secret row that chooses one (so nobody else learns which), adds its keys and values
to a cache in which each is masked and opened once, compares the scores under the protocol, and opens the chosen token
to the client.
"""

import inspect
import math
from collections.abc import Collection, Iterator
from functools import cached_property

import torch
import torch.nn.functional as F

from .protocols import arithmetic
from .runtime.session import Session
from .stream import Stream, derive, fresh_seed
from .tensor import SecretTensor, secret


def generate(
    model, prompt: torch.Tensor, max_new_tokens: int, *, attention_mask: torch.Tensor | None = None, client: int = 0,
    top_k: int = 1, temperature: float = 1.0, seed: int | None = None, stop: Collection[int] = (),
) -> Iterator[torch.Tensor]:  # fmt: skip
    """What follows the prompt, token by token: int64 [batch] each at party `client`, meta tensors at the others.

    model      from `private`: one of the zoo's, or a causal model of Hugging Face. One in plain text works as well: it
               writes what the private one should
    prompt     ids int64 [batch, n] or [n], known to the client; a meta tensor elsewhere
    attention_mask  int64 [batch, n], public: 0 where a prompt that is shorter than others was padded, on its left, and
               1 from its first token on. For models of Hugging Face; the length of each prompt is no secret then
    top_k      1: the most probable token. More: one of the top_k most probable, with their probabilities at
               `temperature`; the client adds the noise that decides, from `seed` (default: another one each time)
    stop       ids that end a row; after its first one the row is -1. When all rows have ended, all parties are told so

    Scores stay secret: a maximum is found under the protocol. Raises ValueError, before anything is said, for a prompt
    that is empty, too long for the model with what is to follow, or has ids that the model does not know, and
    TypeError for a model that does not write from left to right.
    """
    reader = _reader(model)
    prompt = checked(model, prompt, max_new_tokens)
    reader.mask = _checked_mask(reader, prompt, attention_mask)
    if not 1 <= top_k <= reader.tokens:
        raise ValueError(f"top_k={top_k}: this model has {reader.tokens} tokens to choose from")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature={temperature}: a positive number; for the most probable token, top_k=1")
    stop = [i.item() if isinstance(i, torch.Tensor) else i for i in stop]
    if not all(isinstance(i, int) for i in stop):
        raise TypeError(f"stop={stop}: ids that end a row, whole numbers")
    choose = _Chooser(client, top_k, temperature, seed)
    return _write(reader, prompt, max_new_tokens, choose, client, frozenset(stop))


def checked(model, prompt: torch.Tensor, max_new_tokens: int) -> torch.Tensor:
    """The prompt as ids [batch, n]; ValueError or TypeError if this model cannot go on from it so far."""
    reader = _reader(model)
    if isinstance(prompt, (list, tuple)) and len({len(ids) for ids in prompt if hasattr(ids, "__len__")}) > 1:
        raise ValueError(
            f"prompts of {', '.join(str(len(ids)) for ids in prompt)} tokens: those of one batch are as long as each "
            "other. Write them one after the other, or, for a model of Hugging Face, pad the shorter ones on the left "
            "with any token and say so in attention_mask="
        )
    prompt = torch.as_tensor(prompt)
    if prompt.dtype != torch.int64 or isinstance(prompt, SecretTensor):
        raise TypeError(
            f"a prompt is public ids, int64, not {type(prompt).__name__} {prompt.dtype}: encode the text first"
        )
    prompt = prompt[None] if prompt.dim() == 1 else prompt
    if prompt.dim() != 2 or not prompt.numel():
        raise ValueError(f"a prompt is ids [batch, n] with n ≥ 1, not {list(prompt.shape)}")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens}: ask for one at least")
    positions = prompt.shape[1] + max_new_tokens - 1  # the last token is not read any more
    if reader.length is not None and positions > reader.length:
        raise ValueError(
            f"a prompt of {prompt.shape[1]} and {max_new_tokens} new tokens take {positions} positions; this model has "
            f"{reader.length}: shorten the prompt by {positions - reader.length}, or ask for less"
        )
    if not prompt.is_meta and (prompt.min() < 0 or prompt.max() >= reader.tokens):
        wrong = sorted({int(i) for i in prompt.flatten() if not 0 <= i < reader.tokens})
        raise ValueError(f"ids {wrong}: this model knows 0 to {reader.tokens - 1}; was the text encoded for another?")
    return prompt


def _checked_mask(reader, prompt: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """The mask; None where all is text. ValueError for one that does not fit, or that the model would not heed."""
    if mask is None:
        return None
    mask = torch.as_tensor(mask)
    if isinstance(mask, SecretTensor) or mask.is_meta:
        raise ValueError("an attention_mask is public, the same at all parties: it says which places are padding")
    mask = mask.reshape(prompt.shape).long() if mask.numel() == prompt.numel() else mask.long()
    if mask.shape != prompt.shape or not ((mask == 0) | (mask == 1)).all() or (mask.diff(dim=-1) < 0).any():
        raise ValueError(
            f"attention_mask {list(mask.shape)} for prompts {list(prompt.shape)}: a row for each prompt, zeros where "
            "it is padded, on its left, and ones from its first token on"
        )
    if not mask[:, -1].all():
        raise ValueError("attention_mask says that a prompt is empty: it needs one token at least")
    if mask.all():
        return None
    if not reader.pads:
        raise ValueError(
            f"{type(reader.model).__name__} would read padding as text: write prompts of different lengths one after "
            "the other; a model of Hugging Face takes attention_mask"
        )
    return mask


def _write(reader, prompt, count, choose, client, stop) -> Iterator[torch.Tensor]:
    cache, new = reader.cache(prompt.shape[1] + count - 1), prompt
    running = torch.ones(len(prompt), dtype=torch.bool)
    for step in range(count):
        with torch.no_grad():
            new = choose(reader(_rows(new, reader.tokens, client, reader.private), cache))
        if new.is_meta or not stop:
            yield new
        else:
            yield new.where(running, -1)
            running &= ~torch.isin(new, torch.tensor(sorted(stop)))
        if stop and step < count - 1 and _all_ended(running, new, client, reader.private):
            return
        new = new[:, None]


def _rows(ids: torch.Tensor, tokens: int, client: int, private: bool) -> torch.Tensor:
    """Rows that choose a token, [batch, n, tokens]: one is 1, all others 0."""
    if not private:
        return F.one_hot(ids, tokens).float()
    if ids.is_meta:
        return secret(torch.empty(*ids.shape, tokens, dtype=torch.int64, device="meta"), client)
    return secret(F.one_hot(ids, tokens), client)


def _all_ended(running, new, client, private) -> bool:
    """The client, who alone knows, says whether to go on: one public bit. A dry run always goes on."""
    if not private:
        return not running.any()
    here = torch.empty(1, dtype=torch.int64, device="meta") if new.is_meta else running.any().long()[None]
    session = Session.current()
    with session.scope("go on"):
        go_on = session.publish(here, client)
    return not go_on.is_meta and not go_on.item()


class _Chooser:
    """Logits [batch, tokens] → ids [batch] at the client: the greatest, or one of the top k."""

    def __init__(self, client: int, top_k: int, temperature: float, seed: int | None):
        self.client, self.top_k, self.temperature = client, top_k, temperature
        self.noise = Stream(fresh_seed() if seed is None else derive(b"insecure", str(seed)), "generate/noise")

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        private = isinstance(logits, SecretTensor)
        if self.top_k == 1:
            chosen = logits.argmax(-1)
        else:
            scores, ids = logits.topk(self.top_k)
            noise = self.temperature * self._gumbel(scores.shape)
            place = (scores + (secret(noise, self.client) if private else noise)).argmax(-1)
            chosen = ((place[:, None] - torch.arange(self.top_k) == 0) * ids).sum(-1)
        return chosen.reveal(to=self.client) if private else chosen

    def _gumbel(self, shape):
        """Noise with which the maximum falls on each score with its softmax's probability."""
        uniform = ((self.noise.words(shape) >> 11 & (1 << 53) - 1).double() + 0.5) / 2**53  # between 0 and 1, neither
        return -uniform.log().neg().log().float()


# ---- what has been read ----------------------------------------------------------------------------------------------


class Layer:
    """Keys and values of one layer, [batch, heads, positions, width] each; secret ones are masked and opened once."""

    def __init__(self, capacity: int):
        self.capacity, self.rooms, self.used = capacity, None, 0
        self.all: tuple = ()

    def update(self, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add those of new positions; all so far."""
        new = keys, values
        if isinstance(keys, SecretTensor):
            self.all = self._fill(keys.session, new)
        else:
            self.all = tuple(torch.cat(pair, 2) for pair in zip(self.all, new)) if self.all else new
        self.used += keys.shape[2]
        return self.all

    def _fill(self, session: Session, new):
        if self.rooms is None:
            shapes = [(*x.shape[:2], self.capacity, x.shape[3]) for x in new]
            self.rooms = [session.run(arithmetic.room, n, shape, 2) for n, shape in zip(session.masks(2), shapes)]
        with session.scope("cache"):
            filled = session.run(arithmetic.fill_all, [x.shared for x in new], self.rooms)
        return tuple(SecretTensor(x, session) for x in filled)


class Cache:
    """Keys and values of up to `capacity` positions in all layers, as a model's attention asks for them."""

    def __init__(self, capacity: int):
        self.capacity, self.layers = capacity, {}

    def get_seq_length(self) -> int:
        """How many positions it knows."""
        return self.layers[0].used if self.layers else 0

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Add those of new positions in a layer; all of that layer so far."""
        return self.layers.setdefault(layer, Layer(self.capacity)).update(keys, values)


# ---- models ----------------------------------------------------------------------------------------------------------


class _Reader:
    """One step of a model with `length` positions and a `vocabulary`, as the zoo's GPT has them."""

    pads, mask = False, None

    def __init__(self, model):
        self.model, self.private = model, isinstance(next(model.parameters()), SecretTensor)
        self.length, self.tokens = self._sizes()

    def _sizes(self) -> tuple[int | None, int]:
        return self.model.length, self.model.vocabulary

    def cache(self, capacity: int):
        return Cache(capacity)

    def __call__(self, rows: torch.Tensor, cache) -> torch.Tensor:
        """Logits [batch, tokens] of what follows the newest position; `cache` then knows these."""
        return self.model(rows, cache, logits_to_keep=1)[:, -1]


class _HuggingFaceReader(_Reader):
    """A causal model of transformers, which reads embeddings and keeps a cache of its own making.

    `mask` [batch, n] says which of the positions that it knows, once it has read the next ones, are text.
    """

    pads = True

    def _sizes(self):
        config = self.model.config
        length = getattr(config, "max_position_embeddings", None) or -1  # some say -1 where there is no end
        return (length if length > 0 else None), self.model.get_input_embeddings().num_embeddings

    def cache(self, capacity):
        from transformers import Cache as HuggingFaceCache
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        class SecretLayer(DynamicLayer):
            """The keys and values that transformers asks for, from a `Layer`."""

            is_croppable = False

            def __init__(self):
                super().__init__()
                self.layer = Layer(capacity)

            def update(self, key_states, value_states, *args, **kwargs):
                self.keys, self.values = self.layer.update(key_states, value_states)
                self.is_initialized = True
                return self.keys, self.values

            def _stays(self, *args):
                raise NotImplementedError("keys and values in a secret cache stay where they are: begin a new one")

            crop = reset = reorder_cache = batch_repeat_interleave = batch_select_indices = _stays

        return HuggingFaceCache(layer_class_to_replicate=SecretLayer) if self.private else DynamicCache()

    @cached_property
    def table(self) -> torch.Tensor:
        """What the model's embedding says of each token: its weights, or those scaled, as in the Gemma family."""
        layer = self.model.get_input_embeddings()
        is_plain = type(layer).forward is torch.nn.Embedding.forward and layer.max_norm is None
        return layer.weight if is_plain else layer(torch.arange(self.tokens))

    def __call__(self, rows, cache):
        embedded = rows @ self.table
        options = {"past_key_values": cache, "use_cache": True, "logits_to_keep": 1}
        if self.mask is not None:
            known = self.mask.shape[1] - rows.shape[1]
            options |= {"attention_mask": self.mask, "position_ids": (self.mask.cumsum(-1) - 1).clamp(min=0)[:, known:]}
            self.mask = F.pad(self.mask, (0, 1), value=1)  # of the token that is chosen now
        return self.model(inputs_embeds=embedded, **options).logits[:, -1]


def _reader(model) -> _Reader:
    """Raises TypeError for a model that writes no text from left to right."""
    if not hasattr(model, "get_input_embeddings"):
        if not hasattr(model, "length") or not hasattr(model, "vocabulary"):
            raise TypeError(f"{type(model).__name__} is no language model: one of the zoo's or of Hugging Face writes")
        return _Reader(model)
    name = type(model).__name__
    if model.config.is_encoder_decoder or not model.can_generate():
        raise TypeError(f"{name} does not write from left to right: load a causal model, AutoModelForCausalLM")
    if "past_key_values" not in inspect.signature(type(model).forward).parameters:
        raise TypeError(f"{name} takes no cache of keys and values, and writing token by token needs one")
    if any(hasattr(m, "create_position_ids_from_inputs_embeds") for m in model.modules()):  # RoBERTa and its relatives
        raise TypeError(f"{name} counts positions by looking at its tokens, which are secret, and anew at each step")
    return _HuggingFaceReader(model)
