"""mpckit: learn and prototype secure multi-party computation, from a share to an encrypted network.

The public names in reading order; importing them starts nothing.
"""

import importlib

from .ring import RangeError, Ring  # numbers
from .share import AShare, BShare, join, split  # pieces
from .ask import Draw, Open, Send, together  # the conversation
from .runtime.meter import LAN, MOBILE, WAN, Link  # what it costs
from .runtime.session import Session, simulate  # who drives it
from .offline.plan import Plan, plan  # what it will need
from .once import ReuseError
from .protocols.suites import BitSuite, FssSuite  # families of protocols
from .tensor import SecretError, SecretTensor, reveal, secret  # torch on top
from .nn import private
from .folding import fold
from .generate import generate
from .runtime.tell import tell
from . import aten  # registers the operators

__version__ = "0.1.0"

# What needs Jupyter, or other machines, is loaded when first asked for: the core imports without.
_LATER = {"connect": "runtime.connect", "cluster": "engines.team", "only": "engines.ownership", "show": "show"}


def __getattr__(name):
    if name not in _LATER:
        raise AttributeError(f"module 'mpckit' has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{_LATER[name]}", __name__)
    except ModuleNotFoundError as error:
        needed = (error.name or "").partition(".")[0]
        if needed == __name__:
            raise
        raise ModuleNotFoundError(f"mpckit.{name} needs {needed}: pip install 'mpckit[lab]'", name=error.name) from None
    return module if _LATER[name] == name else getattr(module, name)


def __dir__():
    return [*globals(), *_LATER]


def load_ipython_extension(shell):
    """`%load_ext mpckit`: the cell magics %%parties and %%party."""
    from .engines.magics import load

    load(shell)
