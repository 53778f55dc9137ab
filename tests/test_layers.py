"""Imports point down only: a module imports from lower rows and from its own.

6  engines  show   zoo  bench …         what a person touches beside torch
5  cell  tensor  aten  nn  folding  generate  torch on top, protocols below
4  runtime  offline                     the only code that does I/O or keeps state
3  protocols                            generators
2  ask   correlations                   the vocabulary
1  stream   share   once   fss          pure cryptography
0  ring   kernels                       integers and devices
"""

import ast
import importlib.util
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("mpckit").origin).parent
ROWS = [
    {"ring", "kernels"},
    {"stream", "share", "once", "fss"},
    {"ask", "correlations"},
    {"protocols"},
    {"runtime", "offline"},
    {"cell", "tensor", "aten", "nn", "folding", "generate"},
    {
        "engines",
        "show",
        "zoo",
        "bench",
        "demo",
        "__main__",
    },
]
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
# Plots and engines belong to row 6 alone.
NOTEBOOK = {"IPython", "ipyparallel", "ipywidgets", "anywidget", "plotly", "tqdm"}
FILES = {p: p.relative_to(PACKAGE).with_suffix("").parts for p in sorted(PACKAGE.rglob("*.py"))}
FILES.pop(PACKAGE / "__init__.py")  # the public names come from everywhere


def imports(source: str, module: tuple[str, ...], is_package: bool):
    """(line, imported module as parts below mpckit) and (line, name of another package), also from inside functions."""
    inner, outer = [], []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = node.module.split(".") if node.module else []
            if node.level:
                here = ["mpckit", *(module if is_package else module[:-1])]
                stem = here[: len(here) - node.level + 1] + stem
            # `from . import kernels` names a module, `from .ring import Ring` something in one
            names = [[*stem, alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            (inner if name[0] == "mpckit" else outer).append(
                (node.lineno, tuple(name[1:]) if name[0] == "mpckit" else name[0])
            )
    return inner, outer


def climbing(source: str, module: tuple[str, ...], is_package=False) -> list[str]:
    """What this module imports and should not."""
    inner, outer = imports(source, module, is_package)
    own = ROW[module[0]]
    wrong = [f"line {line}: mpckit.{'.'.join(name)}" for line, name in inner if not name or ROW.get(name[0], 99) > own]
    return wrong + [f"line {line}: {name}" for line, name in outer if name in NOTEBOOK and own < 6]


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(FILES[path]))
def test_imports_point_down(path):
    module, is_package = FILES[path], path.name == "__init__.py"
    module = module[:-1] if is_package else module
    assert module[0] in ROW, f"mpckit.{module[0]} has no row: give it one here and in ARCHITECTURE's picture"
    assert climbing(path.read_text(), module, is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (("ring",), "from .share import AShare"),
        (("ring",), "from . import share"),
        (("ring",), "import mpckit"),
        (("kernels", "cpu"), "from .. import stream"),
        (("protocols", "bits"), "def f():\n    from ..runtime.session import Session"),
        (("protocols", "bits"), "import mpckit.runtime.meter"),
        (("offline", "dealer"), "if True:\n    from mpckit.tensor import SecretTensor"),
        (("aten", "table"), "from ..show import figures"),
        (("runtime", "report"), "import plotly.graph_objects as go"),
        (("ring",), "from .unheard_of import thing"),
    ],
)
def test_an_import_that_climbs_is_seen(module, source):
    assert len(climbing(source, module)) == 1


def test_imports_that_point_down_or_aside_are_fine():
    assert (
        climbing(
            "from ..ring import Ring\nfrom . import gates\nimport torch\nfrom .bits import msb",
            ("protocols", "arithmetic"),
        )
        == []
    )
    assert climbing("from . import wire\nfrom ..offline.store import Store", ("runtime",), is_package=True) == []
    assert climbing("import plotly\nfrom ..tensor import secret", ("show", "live")) == []
