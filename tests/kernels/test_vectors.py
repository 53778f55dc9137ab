"""Published vectors for the keystream, and our own for the formats that parties and dealers must agree on.

    kernels.keystream(key, first_block=0, blocks=1)   is AES-128 of the counter 0

The files in `tests/vectors` are frozen: when one no longer fits, a change has broken the format for all who speak it.
"""

import json
from pathlib import Path

import pytest
import torch

from mpckit import kernels
from mpckit.correlations import Bilinear, Triple
from mpckit.kernels.reference import _aes128
from mpckit.offline.dealer import Dealing, pack_corrections
from mpckit.stream import Stream, derive

VECTORS = Path(__file__).parents[1] / "vectors"


def octets(text):
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


def stored(name):
    return json.loads((VECTORS / name).read_text())


# ---- AES -----------------------------------------------------------------------------------------

FIPS_197 = [  # (key, plaintext, ciphertext): appendix B, appendix C.1
    ("2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"),
    ("000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
]


@pytest.mark.parametrize(("key", "plain", "cipher"), FIPS_197)
@pytest.mark.parametrize("body", [kernels.keystream, kernels.keystream.reference])
def test_fips_197(body, key, plain, cipher):
    block = body(octets(key), int(plain, 16), 1)
    assert block.view(torch.uint8).tolist() == octets(cipher).tolist()
    assert _aes128(octets(key).numpy(), octets(plain).numpy()[None]).tobytes().hex() == cipher


@pytest.mark.parametrize("body", [kernels.keystream, kernels.keystream.reference])
def test_sp_800_38a_counter_mode(body):
    """Appendix F.5.1: the keystream is plaintext xor ciphertext."""
    plain = (
        "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"
    )
    cipher = (
        "874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee"
    )
    key, counter = octets("2b7e151628aed2a6abf7158809cf4f3c"), int("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff", 16)
    stream = body(key, counter, 4).view(torch.uint8)
    assert (octets(plain) ^ stream).tolist() == octets(cipher).tolist()


# ---- our own formats -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", stored("stream.json"), ids=lambda case: case["label"])
def test_stream(case):
    seed = bytes.fromhex(case["seed"])
    stream = Stream(seed, case["label"])
    assert stream.key.numpy().tobytes().hex() == case["key"]
    assert stream.words((5,)).tolist() == case["words"]
    assert stream.bits((70,)).int().tolist() == case["bits"]
    assert derive(seed, case["label"]).hex() == case["derived"]


@pytest.mark.parametrize("case", stored("triple.json"), ids=lambda case: case["op"]["kind"])
def test_dealt_triple(case):
    seeds = {int(p): bytes.fromhex(seed) for p, seed in case["seeds"].items()}
    op = Bilinear(case["op"]["kind"], tuple(tuple(a) if isinstance(a, list) else a for a in case["op"]["args"]))
    dealing = Dealing(seeds, case["serial"])
    handles = Triple(op, tuple(case["x"]), tuple(case["y"])).deal(dealing)
    for handle, pieces in zip(handles, case["pieces"], strict=True):
        assert [p.tolist() for p in handle.pieces] == pieces
    assert (
        pack_corrections(dealing.corrections, len(seeds) - 1, len(seeds)).numpy().tobytes().hex() == case["corrections"]
    )
