"""A notebook's cell on an engine: it runs in that party's own namespace, which lasts as long as the engine.

What one party knows by a name, another does not: there is one namespace in each process.
"""

import ast
import importlib

import torch

from ..runtime.session import Session
from ..tensor import SecretTensor

PACKAGE = importlib.import_module(__package__.partition(".")[0])  # the public names, for who writes a cell
NAMES: dict[str, object] = {"mk": PACKAGE, PACKAGE.__name__: PACKAGE, "torch": torch}


def run_cell(source: str, title: str, party: int, parties: int) -> None:
    """Run a cell as `party`; the value of a last expression is printed. Names persist for the next cell."""
    NAMES.update(party=party, parties=parties, __name__="__main__")
    tree = ast.parse(source, title)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, title, "exec"), NAMES)
    if last is not None and (value := eval(compile(last, title, "eval"), NAMES)) is not None:
        print(repr(value))


def run_seated(seat, source: str, title: str, options: dict) -> None:
    """Run a cell as the party of `seat`, in a session with the others; its secrets last as long as the cell."""
    session = Session(seat.parties, here=(seat.party,), wire=seat.wire, dealer=seat.dealer, **options)
    session.meter.listeners.append(seat.events.hear)
    try:
        with session:
            run_cell(source, title, seat.party, seat.parties)
    finally:
        for name, value in NAMES.items():
            if isinstance(value, SecretTensor) and value.session is session:
                NAMES[name] = Gone(name)
    seat.events.send(phase="end", seconds=session.meter.wall.get("online", 0.0), exchange=session.exchange)


class Gone:
    """Stands where a cell had a secret of a session that is over."""

    def __init__(self, name: str):
        object.__setattr__(self, "_name", name)

    def _refuse(self, *args, **kwargs):
        name = object.__getattribute__(self, "_name")
        raise RuntimeError(
            f"the secret {name!r} went with the session of its cell: make it again in this cell, or reveal it there"
        )

    __call__ = __getattr__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = _refuse
    __rmatmul__ = __truediv__ = __getitem__ = __gt__ = __lt__ = __ge__ = __le__ = __neg__ = _refuse
    __torch_function__ = classmethod(lambda cls, func, kinds, args=(), kwargs=None: _refuse_any(args))

    def __repr__(self):
        return f"the secret {object.__getattribute__(self, '_name')!r} of a cell that is over"


def _refuse_any(args):
    next(arg for arg in args if isinstance(arg, Gone))._refuse()
