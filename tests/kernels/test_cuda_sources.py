"""The GPU's sources pass its own compilers for the cards that the kit is meant for: A100 (sm_80) and H100 and H200
(sm_90). No card is needed for that; NVRTC is what a user's machine runs, `pip install nvidia-cuda-nvrtc`.
"""

import ctypes
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from host import kernels

from mpckit.kernels.cuda import launch

CARDS = ["sm_80", "sm_90"]
CUPY = ("-ftz=true", "--device-as-default-execution-space")  # what a RawModule adds to the options that it is given


def nvrtc():
    """The library, from the wheel that brings it or from the system; None without it."""
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations if spec else ():
        for found in sorted(Path(root).rglob("libnvrtc.so.*")):
            for builtins in found.parent.glob("libnvrtc-builtins.so.*"):  # which it would look for in system folders
                ctypes.CDLL(str(builtins))
            return ctypes.CDLL(str(found))
    for name in ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def test_any_locale_can_write_them():
    """CuPy writes what it compiles to a file in the locale's own encoding."""
    assert launch.source().isascii() and "#define LEAF_BITS" in launch.source()


def test_nvrtc_compiles_them():
    library = nvrtc()
    if library is None:
        pytest.skip("NO NVRTC HERE: the CUDA sources were NOT compiled by it")
    for card in CARDS:
        compiled(library, card)


def compiled(library, card):
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert library.nvrtcCreateProgram(ctypes.byref(program), launch.source().encode(), b"mpckit.cu", 0, None, None) == 0
    given = [option.encode() for option in (*launch.OPTIONS, *CUPY, f"-arch={card}")]
    options = (ctypes.c_char_p * len(given))(*given)
    status = library.nvrtcCompileProgram(program, len(options), options)
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    assert library.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
    made = ctypes.create_string_buffer(size.value)
    library.nvrtcGetCUBIN(program, made)
    assert all(name.encode() in made.raw for name in kernels())


# Without it one line says so.
@pytest.mark.parametrize("card", CARDS if shutil.which("nvcc") else ["any card"])
def test_nvcc_compiles_them_and_nothing_spills(card, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip(f"NO nvcc HERE: the CUDA sources were NOT compiled by it for {card}")
    (tmp_path / "mpckit.cu").write_text(launch.source())
    command = [
        "nvcc",
        *launch.OPTIONS,
        f"-arch={card}",
        "-cubin",
        "-Xptxas",
        "-v",
        "-Werror",
        "all-warnings",
        "mpckit.cu",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"entry function '(\w+)'", done.stderr)) == sorted(kernels())
    spills = re.findall(r"(\d+) bytes spill", done.stderr)
    assert spills and set(spills) == {"0"}, done.stderr
