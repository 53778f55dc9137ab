"""The tree kernels on a CPU: the loops of `aes` on tensors, or the definitions of `ggm` where there is no AES to call.

Whatever runs at once is sixteen keys, so a batch goes in whole groups and a padded one.
"""

import numpy as np
import torch
import torch.nn.functional as F
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from . import aes, ggm
from .aes import GROUP
from .ggm import CHILD, LEAF_BITS


def _grouped(loop, given, made, *rest):
    """Run `loop` on tensors [..., n, width]; keys beyond the last full group go once more, padded to one."""

    def flat(t):
        return np.ascontiguousarray(t.numpy()).reshape(-1)

    n = given[0].shape[-2]
    left = n % GROUP
    if n >= GROUP:
        loop(*map(flat, given), *map(flat, made), n, *rest, aes.LANES[aes.way])
    if left:
        last = [F.pad(t[..., n - left :, :], (0, 0, 0, GROUP - left)) for t in given]
        few = [t.new_empty((*t.shape[:-2], GROUP, t.shape[-1])) for t in made]
        loop(*map(flat, last), *map(flat, few), GROUP, *rest, aes.LANES[aes.way])
        for t, part in zip(made, few):
            t[..., n - left :, :] = part[..., :left, :]
    return made


def _body(kernel):
    """Register a fast body, which gives way to the definition where the CPU has no instruction for AES."""

    def register(fast):
        kernel.on("cpu")(lambda *args: kernel.reference(*args) if aes.way == "openssl" else fast(*args))
        return fast

    return register


@ggm.prg.on("cpu")
def prg(blocks, tweak):
    if aes.way != "openssl":
        flat = blocks.reshape(-1, 2)
        return _grouped(aes.prg, [flat], [torch.empty_like(flat)], tweak)[0].view(blocks.shape)
    words = blocks.reshape(-1, 2).numpy()
    mixed = np.empty((len(words) + 1, 2), np.int64)[:-1]  # update_into asks for a spare block behind its output
    mixed[:, 0] = words[:, 1]
    mixed[:, 1] = words[:, 0] ^ tweak ^ words[:, 1]
    out = np.empty((len(words) + 1, 2), np.int64)
    encryptor = Cipher(algorithms.AES(ggm.KEY), modes.ECB()).encryptor()
    encryptor.update_into(mixed.view(np.uint8).reshape(-1), out.view(np.uint8).reshape(-1))
    return torch.from_numpy(out[:-1] ^ mixed).view(blocks.shape)


@_body(ggm.dpf_gen)
def dpf_gen(alpha, root0, root1, bits):
    out = torch.empty((bits - LEAF_BITS + 1, *root0.shape), dtype=torch.int64)
    return _grouped(aes.dpf_gen, [alpha[:, None], root0, root1], [out], bits)[0]


def _points(x, root, cw, bits, prefix):
    out = torch.empty((*x.shape, 1), dtype=torch.bool)
    return _grouped(aes.dpf_points, [x[..., None], root, cw], [out], len(x), bits, prefix)[0][..., 0]


@_body(ggm.dpf_eval)
def dpf_eval(x, root, cw, bits):
    return _points(x, root, cw, bits, False)


@_body(ggm.dpf_parity)
def dpf_parity(x, root, cw, bits):
    return _points(x, root, cw, bits, True)


@_body(ggm.dpf_all)
def dpf_all(root, cw, bits):
    return _grouped(aes.dpf_all, [root, cw], [torch.empty((len(root), 1 << bits >> 6), dtype=torch.int64)], bits)[0]


@_body(ggm.dcf_gen)
def dcf_gen(alpha, beta, root0, root1, bits):
    made = [
        torch.empty((bits, *root0.shape), dtype=torch.int64),
        torch.empty((bits + 1, *beta.shape), dtype=torch.int64),
    ]
    return tuple(_grouped(aes.dcf_gen, [alpha[:, None], beta, root0, root1], made, len(beta), bits))


@_body(ggm.dcf_eval)
def dcf_eval(x, root, cw, vcw):
    out = torch.empty((len(x), *vcw.shape[1:]), dtype=torch.int64)
    return _grouped(aes.dcf_eval, [x[..., None], root, cw, vcw], [out], len(x), vcw.shape[1], len(cw))[0]


def ceiling(blocks: torch.Tensor, times: int) -> None:
    """H on 16·k blocks [16·k, 2] in place, `times` times over, with nothing around it."""
    if aes.way != "openssl":
        aes.again(blocks.view(-1).numpy(), times, aes.LANES[aes.way])
        return
    for _ in range(times):
        blocks.copy_(prg(blocks, CHILD))
