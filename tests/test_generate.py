"""Text from secret weights: token by token what the model writes in plaintext, at a price that stays flat."""

import math
import sys

import pytest
import torch

import mpckit as mk
from mpckit.generate import Cache, _Chooser, _reader
from mpckit.runtime.round import HEADER_BYTES
from mpckit.zoo.language import GPT

SUITES = pytest.mark.parametrize("suite", ["bits", "fss"])
PROMPTS = torch.tensor([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])


def small(**changes) -> GPT:
    """Random weights, drawn so that it does not repeat itself."""
    torch.manual_seed(10)
    model = GPT(**{"tokens": 20, "length": 16, "layers": 2, "width": 16, "heads": 2} | changes).eval()
    for weight in model.parameters():
        weight.data += 0.5 * torch.randn(weight.shape)
    model.head.weight = torch.nn.Parameter(torch.randn(20, 16))
    model.positions.weight.data += torch.randn(model.positions.weight.shape)
    return model


def written(*args, **options) -> torch.Tensor:
    return torch.stack(list(mk.generate(*args, **options)), 1)


@SUITES
def test_two_texts_are_continued_as_in_plaintext(suite):
    model = small()
    want = written(model, PROMPTS, 6)
    with mk.simulate(suite=suite):
        got = written(mk.private(model, owner=1), PROMPTS, 6)
    assert torch.equal(got, want) and want.unique().numel() > 3, "a model that says one thing proves little"


def test_three_parties_too():
    model = small()
    with mk.simulate(parties=3):
        got = written(mk.private(model, owner=2), PROMPTS[0], 2, client=1)
    assert torch.equal(got, written(model, PROMPTS[0], 2))


def test_in_plaintext_the_cache_changes_nothing():
    """A step that reads one token with a cache, and a whole text read at once, say the same."""
    model, ids = small(), PROMPTS
    for new in written(model, PROMPTS, 8).T:
        with torch.no_grad():
            assert torch.equal(model(ids)[:, -1].argmax(-1), new)
        ids = torch.cat((ids, new[:, None]), 1)


def test_a_cache_may_be_filled_in_pieces():
    model, cache = small(), Cache(5)
    with torch.no_grad():
        want = model(PROMPTS)
        got = torch.cat([model(part, cache) for part in PROMPTS.split([2, 3], 1)], 1)
    torch.testing.assert_close(got, want)


@SUITES
def test_one_of_the_top_k_is_drawn_with_the_clients_noise(suite):
    model = small()
    want = written(model, PROMPTS, 4, top_k=3, temperature=1.5, seed=5)
    assert not torch.equal(want, written(model, PROMPTS, 4)), "the noise decides something"
    with mk.simulate(suite=suite):
        got = written(mk.private(model, owner=1), PROMPTS, 4, top_k=3, temperature=1.5, seed=5)
    assert torch.equal(got, want)


@SUITES
@pytest.mark.parametrize("top_k", [1, 3])
def test_only_the_chosen_token_is_revealed_and_only_to_the_client(suite, top_k):
    """In the rounds that reveal, the client sends empty messages, the others a word for each row."""
    with mk.simulate(parties=2, suite=suite) as session:
        model, opened, drive = mk.private(small(layers=1), owner=1), [], session.open
        session.open = lambda x, to=None: opened.append((tuple(x.shape), to)) or drive(x, to)
        list(mk.generate(model, PROMPTS, 3, client=1, top_k=top_k))
    assert opened == [((2,), 1)] * 3
    (line,) = [line for line in session.report().lines if line.path == "reveal"]
    assert line.rounds == 3 and line.by_party == {0: 3 * (HEADER_BYTES + 2 * 8), 1: 3 * HEADER_BYTES}


@SUITES
def test_what_a_client_draws_stays_with_it(suite, monkeypatch):
    """Its noise is a secret of its own; without a seed it is another one each time."""
    drawn, said = [], []
    module = sys.modules[_Chooser.__module__]
    monkeypatch.setattr(module, "secret", lambda value, owner: said.append(owner) or mk.secret(value, owner))
    draw = _Chooser._gumbel
    monkeypatch.setattr(_Chooser, "_gumbel", lambda self, shape: drawn.append(draw(self, shape)) or drawn[-1])
    model = small(layers=1)
    with mk.simulate(suite=suite):
        secret_model = mk.private(model, owner=0)
        for _ in range(2):
            list(mk.generate(secret_model, PROMPTS[:1], 2, client=1, top_k=3))
    assert len({float(v) for noise in drawn for v in noise.flatten()}) == 4 * 3
    assert said == [1] * 8, "rows and noise, of the client"


def test_the_noise_draws_from_the_softmax():
    """20,000 rows of one model in plaintext: the shares of its three best tokens."""
    model = small(layers=1)
    with torch.no_grad():
        best = (model(PROMPTS[:1])[0, -1] / 2).topk(3)
    drawn = written(model, PROMPTS[:1].expand(20_000, -1), 1, top_k=3, temperature=2.0, seed=1)
    found = torch.stack([(drawn == i).double().mean() for i in best.indices])
    torch.testing.assert_close(found, best.values.softmax(-1).double(), atol=0.015, rtol=0)


# ---- the price -------------------------------------------------------------------------------------------------------


def bill(session, path=None):
    """(rounds, bytes) of party 0 online; of the lines below `path` only."""
    lines = [line for line in session.report().lines if line.phase == "online" and (not path or path in line.path)]
    return sum(line.rounds for line in lines), sum(line.by_party.get(0, 0) for line in lines)


@SUITES
def test_a_token_costs_the_same_but_for_attention(suite):
    model, prices, cached = small(length=32), [], []
    with mk.simulate(suite=suite) as session:
        before, kept = (0, 0), (0, 0)
        for _ in mk.generate(mk.private(model, owner=1), PROMPTS, 7):
            after, now = bill(session), bill(session, "cache")
            prices.append((after[0] - before[0], after[1] - before[1]))
            cached.append((now[0] - kept[0], now[1] - kept[1]))
            before, kept = after, now
    steps = prices[4:]  # from nine positions on a maximum has as many levels
    assert len({rounds for rounds, _ in steps}) == 1
    growth = [b[1] - a[1] for a, b in zip(steps, steps[1:])]
    assert all(0 < more < 0.02 * steps[0][1] for more in growth)
    # The keys and values of two rows' new token, in each of two layers: these words and a header, at every position.
    header = cached[1][1] - 2 * 2 * 2 * 16 * 8
    assert set(cached[1:]) == {(2, 2 * 2 * 2 * 16 * 8 + header)} and 0 < header < 100


def test_what_a_plan_says_is_what_happens():
    model = small()

    def program(model, prompt):
        for _ in mk.generate(mk.private(model, owner=1), prompt, 4, stop=[20, 21]):
            pass

    plan = mk.plan(program, model, PROMPTS)
    with mk.simulate() as session:
        session.prepare(plan.draws)
        program(model, PROMPTS)
    report = session.report()
    assert report.unplanned == {} and len(session.store) == 0
    assert (report.rounds(), report.sent()) == (plan.report.rounds(), plan.report.sent())


def test_a_place_in_a_cache_is_used_once():
    with mk.simulate() as session, torch.no_grad():
        cache, keys = Cache(3), mk.secret(torch.ones(1, 2, 2, 4), owner=0)
        kept, _ = cache.update(keys, keys, 0)
        with pytest.raises(mk.ReuseError, match="has 3 places along dimension 2; 2 are taken"):
            cache.update(keys, keys, 0)
        assert cache.get_seq_length() == 2, "what it did not take it does not know"
        more, _ = cache.update(keys[:, :, :1], keys[:, :, :1] * 3, 0)
        assert more.reveal()[0, 0, :, 0].tolist() == pytest.approx([1, 1, 1], abs=1e-4)
        before = session.report().sent()
        _ = kept @ more.mT  # both stand under masks that were opened before, so only the truncation speaks
        assert session.report().rounds() and session.report().sent() - before < 2 * 2 * 3 * 8 * 2


@SUITES
def test_a_cache_may_be_filled_in_pieces_by_a_private_model(suite):
    """And asked for the same product twice: as a whole text read at once."""
    model = small()
    with mk.simulate(suite=suite), torch.no_grad():
        cache, secret_model = Cache(5), mk.private(model, owner=1)
        rows = mk.secret(torch.nn.functional.one_hot(PROMPTS, 20), owner=0)
        got = torch.cat([secret_model(part, cache) for part in rows.split([2, 2, 1], 1)], 1)
        torch.testing.assert_close(got.reveal(), model(PROMPTS), atol=2e-2, rtol=0)
        with pytest.raises(ValueError, match="do not fit a room"):
            cache.update(*[mk.secret(torch.ones(1, 2, 1, 8), owner=0)] * 2, 0)


# ---- stopping --------------------------------------------------------------------------------------------------------


@SUITES
def test_rows_end_at_their_stop_and_all_parties_with_the_last(suite):
    model = small()
    free = written(model, PROMPTS, 8)
    stop = {int(free[0, 3])}
    want = written(model, PROMPTS, 8, stop=stop)
    assert want.shape[1] == 4 and int((want == -1).sum()) == 1
    assert torch.equal(want[want != -1], free[:, :4][want != -1])
    with mk.simulate(suite=suite) as session:
        assert torch.equal(written(mk.private(model, owner=0), PROMPTS, 8, stop=stop, client=1), want)
    (line,) = [line for line in session.report().lines if line.path == "go on"]
    bit = {0: 4 * HEADER_BYTES, 1: 4 * (HEADER_BYTES + 8)}
    assert line.rounds == 4 and line.by_party == bit, "the client alone says whether to go on"


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "count", "options", "message"),
    [
        (torch.arange(10) % 5, 8, {}, "10 and 8 new tokens take 17 positions; this model has 16: shorten .* by 1"),
        (torch.tensor([3, 20]), 2, {}, r"ids \[20\]: this model knows 0 to 19"),
        (torch.tensor([3, -1]), 2, {}, r"ids \[-1\]"),
        (torch.empty(0, dtype=torch.int64), 2, {}, "n ≥ 1"),
        (PROMPTS[None], 2, {}, r"\[batch, n\]"),
        (PROMPTS, 0, {}, "ask for one at least"),
        (PROMPTS, 2, {"top_k": 21}, "this model has 20 tokens"),
        (PROMPTS, 2, {"top_k": 3, "temperature": 0}, "for the most probable token, top_k=1"),
        (PROMPTS, 2, {"top_k": 3, "temperature": math.inf}, "a positive number"),
    ],
)
def test_a_mistake_is_named_before_anything_is_said(prompt, count, options, message):
    with mk.simulate() as session:
        model = mk.private(small(), owner=1)
        said = session.report().rounds()
        with pytest.raises(ValueError, match=message):
            mk.generate(model, prompt, count, **options)
        assert session.report().rounds() == said


def test_a_prompt_is_ids_and_so_is_a_stop():
    with pytest.raises(TypeError, match="encode the text first"):
        mk.generate(small(), torch.ones(3), 2)
    with pytest.raises(TypeError, match="stop=.* whole numbers"):
        mk.generate(small(), PROMPTS, 2, stop="ab")


def test_what_does_not_write_from_left_to_right_is_refused():
    transformers = pytest.importorskip("transformers")
    with pytest.raises(TypeError, match="Linear is no language model"):
        mk.generate(torch.nn.Linear(2, 2), PROMPTS, 2)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=20, **sizes)
    bert = transformers.AutoModelForMaskedLM.from_config(config).eval()
    with pytest.raises(TypeError, match="BertForMaskedLM does not write .* AutoModelForCausalLM"):
        mk.generate(bert, PROMPTS, 2)
    first = transformers.OpenAIGPTConfig(vocab_size=20, n_embd=8, n_layer=1, n_head=2)
    with pytest.raises(TypeError, match="OpenAIGPTLMHeadModel takes no cache"):
        mk.generate(transformers.OpenAIGPTLMHeadModel(first).eval(), PROMPTS, 2)
    counting = transformers.RobertaForCausalLM(transformers.RobertaConfig(vocab_size=20, is_decoder=True, **sizes))
    with pytest.raises(TypeError, match="RobertaForCausalLM counts positions"):
        mk.generate(counting.eval(), PROMPTS, 2)
    with mk.simulate(), pytest.raises(mk.SecretError, match="mk.generate"):
        mk.private(hugging_face("GPT2")[0], owner=1).generate(PROMPTS)


def test_a_plan_finds_a_text_that_is_too_long():
    with pytest.raises(ValueError, match="16"):
        mk.plan(lambda m, x: list(mk.generate(mk.private(m, owner=1), x, 9)), small(), torch.zeros(1, 9).long())


# ---- Hugging Face ----------------------------------------------------------------------------------------------------


def hugging_face(family: str):
    """A tiny model with random weights, and its own way of writing: rows, mask → [batch, 4] new tokens."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    sizes = {
        "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16},
        "Llama": {
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 16,
        },
        "Gemma": {  # its embedding is scaled
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 16,
        },
    }[family]  # fmt: skip
    config = getattr(transformers, f"{family}Config")(vocab_size=20, bos_token_id=0, eos_token_id=19, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn(weight.shape)
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "suppress_tokens": None}

    def by_itself(rows, mask):
        out = model.generate(rows, attention_mask=mask, eos_token_id=None, pad_token_id=0, **options)
        return out[:, rows.shape[1] :]

    return model, by_itself


@SUITES
@pytest.mark.parametrize("family", ["GPT2", "Llama", "Gemma"])
def test_a_hugging_face_model_generates_as_by_itself(family, suite):
    model, by_itself = hugging_face(family)
    want = by_itself(PROMPTS, torch.ones_like(PROMPTS))
    assert torch.equal(written(model, PROMPTS, 4), want)
    with mk.simulate(suite=suite):
        assert torch.equal(written(mk.private(model, owner=1), PROMPTS, 4), want)


PADDED = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])


@pytest.mark.parametrize(("family", "suite"), [("GPT2", "bits"), ("GPT2", "fss"), ("Llama", "fss")])
def test_prompts_of_different_lengths(family, suite):
    """Padded on the left, with a mask that says where: each goes on as it would alone."""
    model, by_itself = hugging_face(family)
    want = by_itself(PROMPTS, PADDED)
    alone = by_itself(PROMPTS[1:, 2:], torch.ones(1, 3, dtype=torch.int64))
    assert torch.equal(want[1:], alone) and not torch.equal(want, by_itself(PROMPTS, torch.ones_like(PROMPTS)))
    assert torch.equal(written(model, PROMPTS, 4, attention_mask=PADDED), want)

    def program(model, prompt):
        return written(mk.private(model, owner=1), prompt, 4, attention_mask=PADDED)

    plan = mk.plan(program, model, PROMPTS, suite=suite)
    with mk.simulate(suite=suite) as session:
        session.prepare(plan.draws)
        assert torch.equal(program(model, PROMPTS), want)
    report = session.report()
    assert report.unplanned == {} and (report.rounds(), report.sent()) == (plan.report.rounds(), plan.report.sent())


def test_prompts_that_are_not_padded_are_refused():
    rows = [PROMPTS[0], PROMPTS[1, :3]]
    with pytest.raises(ValueError, match="prompts of 5, 3 tokens.*one after the other.*on the left.*attention_mask="):
        mk.generate(small(), rows, 2)
    assert torch.equal(written(small(), PROMPTS.tolist(), 2), written(small(), PROMPTS, 2))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (PADDED.flip(1), "zeros where it is padded, on its left"),
        (PADDED[:, :3], r"attention_mask \[2, 3\] for prompts \[2, 5\]"),
        (2 * PADDED, "zeros where it is padded"),
        (PADDED.where(PADDED[:1] == 1, 0) * torch.tensor([[1], [0]]), "a prompt is empty"),
        (PADDED.to("meta"), "is public"),
    ],
)
def test_a_mask_that_says_something_else_is_refused(mask, message):
    model, _ = hugging_face("GPT2")
    with pytest.raises(ValueError, match=message):
        mk.generate(model, PROMPTS, 2, attention_mask=mask)


def test_a_model_without_padding_says_so():
    with pytest.raises(ValueError, match="GPT would read padding as text: write prompts .* one after the other"):
        mk.generate(small(), PROMPTS, 2, attention_mask=PADDED)
    everywhere = torch.ones_like(PROMPTS)
    assert torch.equal(written(small(), PROMPTS, 2, attention_mask=everywhere), written(small(), PROMPTS, 2))


def test_what_a_secret_cache_cannot_do_is_refused():
    """Its places were opened under masks of their own: to cut or to turn the shares alone would be another text."""
    model, _ = hugging_face("GPT2")
    with mk.simulate():
        reader = _reader(mk.private(model, owner=1))
        cache = reader.cache(6)
        reader(mk.secret(torch.nn.functional.one_hot(PROMPTS, 20).double(), owner=0), cache)
        assert cache.get_seq_length() == 5 and not cache.layers[0].is_croppable
        for change in (cache.reset, lambda: cache.crop(-1), lambda: cache.batch_select_indices(torch.tensor([0]))):
            with pytest.raises(NotImplementedError, match="secret cache stay where they are"):
                change()
