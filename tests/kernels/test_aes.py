"""The trees' hash, in every way that this CPU knows; `MPCKIT_AES=aesni python …` chooses one for a process.

kernels.prg(blocks, tweak)      H(x) = π(σ(x)) ⊕ σ(x) at x = block ⊕ tweak
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_bodies import EXAMPLES, outputs

from mpckit import kernels
from mpckit.kernels import KERNELS, aes, ggm

TREES = ("prg", "dpf_gen", "dpf_eval", "dpf_parity", "dpf_all", "dcf_gen", "dcf_eval")
WAYS = aes.ways()
FROZEN = json.loads((Path(__file__).parents[1] / "vectors" / "fss.json").read_text())


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setattr(aes, "way", request.param)
    return request.param


def block(number: int) -> torch.Tensor:
    return torch.tensor(list(number.to_bytes(16, "little")), dtype=torch.uint8).view(torch.int64)


def number(block: torch.Tensor) -> int:
    return int.from_bytes(block.view(torch.uint8).numpy().tobytes(), "little")


def sigma(x: int) -> int:
    high, low = divmod(x, 1 << 64)
    return (high ^ low) << 64 | high


def test_the_permutation_is_fips_197(way):
    """Appendix C.1: a block whose σ is the published plaintext hashes to ciphertext ⊕ plaintext."""
    plain = int.from_bytes(bytes.fromhex("00112233445566778899aabbccddeeff"), "little")
    cipher = int.from_bytes(bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a"), "little")
    mixed, high = divmod(plain, 1 << 64)
    x = high << 64 | (mixed ^ high)
    assert sigma(x) == plain
    for body in (kernels.prg, kernels.prg.reference):
        assert number(body(block(x), 0)) == cipher ^ plain
        assert number(body(block(x ^ 6), 6)) == cipher ^ plain


@pytest.mark.parametrize("case", FROZEN["prg"], ids=lambda case: f"tweak {case['tweak']}")
def test_frozen_hashes(way, case):
    assert [
        number(b) for b in kernels.prg(torch.stack([block(int(x, 16)) for x in case["blocks"]]), case["tweak"])
    ] == [int(h, 16) for h in case["hashes"]]


def test_sigma_is_a_linear_orthomorphism():
    """σ and x ↦ σ(x) ⊕ x are both one to one: neither has a kernel, seen on all 128 unit vectors."""

    def rank(rows):
        basis = {}
        for row in rows:
            while row and row.bit_length() in basis:
                row ^= basis[row.bit_length()]
            if row:
                basis[row.bit_length()] = row
        return len(basis)

    units = [1 << i for i in range(128)]
    assert rank(map(sigma, units)) == rank(sigma(u) ^ u for u in units) == 128


@pytest.mark.parametrize("name", TREES)
def test_every_way_equals_the_definition(way, name):
    torch.manual_seed(7)
    for args in EXAMPLES[name]():
        expected, found = outputs(KERNELS[name].reference(*args)), outputs(KERNELS[name](*args))
        assert all(map(torch.equal, expected, found)), (way, [getattr(a, "shape", a) for a in args])


def test_control_bits_and_tweaks_stay_apart():
    """Bit 0 of a tweak would change which party corrects; equal tweaks would give a leaf away as a child."""
    tweaks = [ggm.CHILD, ggm.LEAF, *(ggm.VALUE * (1 + j) for j in range(8))]
    assert len(set(tweaks)) == len(tweaks) and all(t % 2 == 0 for t in tweaks)


# ---- the choice ----------------------------------------------------------------------------------


def test_without_the_instructions_openssl_serves(monkeypatch):
    monkeypatch.setattr(aes, "get_host_cpu_features", lambda: "+sse2,-aes,-vaes,+avx2")
    assert aes.ways() == ["openssl"] and aes.choose(None) == "openssl"
    with pytest.raises(ValueError, match="MPCKIT_AES=vaes512: this CPU offers openssl"):
        aes.choose("vaes512")


@pytest.mark.parametrize(
    ("features", "first"),
    [
        ("+sse2,+aes,-vaes,+avx2,-avx512f", "aesni"),
        ("+sse2,+aes,+vaes,+avx2,-avx512f", "vaes256"),
        ("+sse2,+aes,+vaes,+avx2,+avx512f,+avx512bw", "vaes512"),
    ],
)
def test_the_widest_is_taken(monkeypatch, features, first):
    monkeypatch.setattr(aes, "get_host_cpu_features", lambda: features)
    assert aes.choose(None) == first and aes.choose("openssl") == "openssl"


def test_the_environment_chooses():
    code = "from mpckit.kernels import aes; print(aes.way)"
    for name in WAYS:
        run = subprocess.run(
            [sys.executable, "-c", code], env={"MPCKIT_AES": name}, cwd=Path(aes.__file__).parents[2],
            capture_output=True, text=True,
        )  # fmt: skip
        assert run.stdout.strip() == name, run.stderr
