"""torch.nn.TransformerEncoder, whose layers torch fuses at rest."""

import pytest
import torch
from family import SUITES, same
from torch import nn

X = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[False] * 7, [False] * 4 + [True] * 3])  # torch's own: where not to look
LATER = nn.Transformer.generate_square_subsequent_mask(7)


def encoder(**options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, **options)
    norm = nn.LayerNorm(32) if options else None
    return nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=not options).eval()


@SUITES
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}], ids=["after", "before"])
def test_output(options, suite, parties):
    same(lambda m, x: m(x), encoder(**options), X, suite=suite, parties=parties)


def test_padding():
    """torch would leave padding out of what it computes, and put zeros there; a secret batch stays whole."""
    same(lambda m, x: m(x, src_key_padding_mask=PADDING), encoder(), X, seen=~PADDING)


@pytest.mark.parametrize("options", [{"mask": LATER}, {"mask": LATER, "is_causal": True}], ids=["mask", "causal"])
def test_causal(options):
    same(lambda m, x: m(x, **options), encoder(), X, suite="fss")


def test_a_decoder_looks_at_what_was_encoded():
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(32, 4, 64, batch_first=True), 2).eval()
    same(lambda m, x: m(x, x), decoder, X)
