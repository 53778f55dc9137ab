"""Which products a node of the comparison tree needs: the dealer, the reference and the fast bodies read the same list.

A node joins `radix` neighbouring digits, most significant first. A digit says g ("already less") and p ("equal so
far"):
    G = g_top ⊕ p_top·g_next ⊕ p_top·p_next·g_… ⊕ …        P = p_top·p_next·…
Each product of several secret bits is opened under one-time masks: Π(d_i ⊕ a_i) = ⊕_T Π_{i∉T} d_i · Π_{i∈T} a_i, so
the dealer must share every product of masks that occurs. Both parities of a two-input node are Beaver's bit triple
[Bea91].
"""

import functools
from itertools import combinations

WANT = ("g", "p", "gp")


@functools.lru_cache
def monomials(radix: int, want: str) -> tuple[int, tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """(number of inputs, products that make G without g_top, products that make P).

    The inputs are p_top … p_0, g_next … g_0.
    For want == "g" the lowest p takes no part and is left out.
    """
    ps = radix if "p" in want else radix - 1
    gs = tuple(range(ps, ps + radix - 1)) if "g" in want else ()
    for_g = tuple((*range(j + 1), g) for j, g in enumerate(gs))
    for_p = (tuple(range(radix)),) if "p" in want else ()
    return ps + len(gs), for_g, for_p


@functools.lru_cache
def mask_products(radix: int, want: str) -> tuple[tuple[int, ...], ...]:
    """Subsets of two or more inputs whose product of masks the dealer shares, in the order in which it deals them."""
    _, for_g, for_p = monomials(radix, want)
    subsets = {t for m in for_g + for_p for k in range(2, len(m) + 1) for t in combinations(m, k)}
    return tuple(sorted(subsets, key=lambda t: (len(t), t)))


@functools.lru_cache
def terms(radix: int, want: str) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], ...]:
    """For G and for P: the terms (row, opened inputs).

    Row -1 is the public one; the others count in [masks; mask products].
    """
    inputs, for_g, for_p = monomials(radix, want)
    row = (
        {(): -1} | {(i,): i for i in range(inputs)} | {t: inputs + k for k, t in enumerate(mask_products(radix, want))}
    )

    def expand(products):
        return tuple(
            (row[t], tuple(i for i in m if i not in t))
            for m in products
            for k in range(len(m) + 1)
            for t in combinations(m, k)
        )

    return expand(for_g), expand(for_p)
