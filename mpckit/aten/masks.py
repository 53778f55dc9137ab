"""What a product opens it opens once: a factor's mask stays with the factor, for every product it meets later.

x - a is public, and a is uniform: that may be used again as long as x keeps its value. So a layer's input is opened
once for the queries, the keys and the values, for a block and its shortcut, and for the gradient by the weights; and
weights that a step of training has changed are opened once, for the way forward and the way back. A view of all
elements, `weight.t()` say, lends its mask from the tensor it is a view of, and the other way round.
"""

from ..cell import Cell
from ..correlations.products import REARRANGEMENTS
from ..tensor import TABLE, SecretTensor


def open_once(*factors: SecretTensor) -> tuple[SecretTensor, ...]:
    """The factors under persistent masks, opened in one round if they are not: then products open nothing.

    Price: 1 round
    """
    chains = [_chain(x.cell) for x in factors]
    fresh = list({id(c[0]): c[0] for c in chains if not _is_fixed(c[0])}.values())
    session = factors[0].session
    for cell, shared in zip(fresh, session.fix(*(cell.shared for cell in fresh))):
        cell.put_under_mask(shared)
    for base, *views in chains:
        for cell in views:
            if not _is_fixed(cell):
                _, operator, args = cell.seen
                cell.put_under_mask(TABLE[operator](SecretTensor(base.shared, session), *args).shared)
            base = cell
    return factors


def _is_fixed(cell: Cell) -> bool:
    return cell.shared.shares[0].fixed is not None


def _chain(cell: Cell) -> list[Cell]:
    """This cell at the end, and before it what it is a view of, as far as a mask can follow."""
    chain = [cell]
    while cell.seen is not None and not _is_fixed(cell):
        base, operator, _ = cell.seen
        if (base := base()) is None or not (_may_lead(operator) and _has_all(base, cell)):
            break
        chain.insert(0, cell := base)
    return chain


def _may_lead(operator) -> bool:
    name = operator.name().removeprefix("aten::")
    return (name if "." in name else f"{name}.default") in REARRANGEMENTS and operator in TABLE


def _has_all(base: Cell, view: Cell) -> bool:
    """Is every element of `base` in the view, and are both values that somebody has asked for?"""
    settled = base.pending is None and base.public is None
    return settled and base.data.numel() == view.data.numel() and base.data.dtype == view.data.dtype
