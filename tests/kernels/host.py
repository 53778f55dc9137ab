"""The GPU's device code on this machine: `build` compiles the very sources with g++ behind `host.h`."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mpckit.kernels.cuda import launch

SHIM = Path(__file__).with_name("host.h")
BLOCKS = 3  # few, so that threads come round again


def kernels() -> list[str]:
    """Of all kernels, their names."""
    return re.findall(r"^KERNEL (\w+)\(", launch.source(), re.M)


def build(folder: Path):
    """What runs a kernel in this process, as `launch.runner` is asked to. Skips where there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("NO g++ HERE: the GPU's device code was NOT checked against the definitions")
    entries = "".join(
        f'extern "C" const char* run_{name}(unsigned blocks, unsigned size, const long long* values) '
        f"{{ return host::launch({name}, blocks, size, values); }}\n"
        for name in kernels()
    )
    source, library = folder / "device.cpp", folder / "device.so"
    source.write_text(f'#include "{SHIM}"\n{launch.source()}\n{entries}')
    # Undefined behaviour ends the kernel: what g++ lets pass, a GPU may do differently.
    flags = "-std=c++17 -O1 -U_FORTIFY_SOURCE -shared -fPIC -Wno-unknown-pragmas".split()
    flags += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
    built = subprocess.run(["g++", *flags, str(source), "-o", str(library)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    loaded = ctypes.CDLL(str(library))

    def runner(device, name, blocks, values):
        assert device.type == "cpu", "the host's memory is all there is"
        entry = loaded[f"run_{name}"]
        entry.restype = ctypes.c_char_p
        wrong = entry(min(blocks, BLOCKS), launch.BLOCK, (ctypes.c_longlong * len(values))(*values))
        assert wrong is None, f"{name}: {wrong.decode()}"

    return runner
