"""Protocols: generators that say Draw, Open or Send. They import no session and no wire, and keep no state.

A docstring ends in the price of one call, and `tests/protocols/test_price.py` measures it:
    Price: rounds · bits that one party sends one peer, per element of the result
Where it depends there are several lines, "Price (exact): …". The letters:
    w bits of the ring, b bits of an xor-shared word; n, x and y elements of the result and of the operands (which
    have the result's shape where x and y are not named); k bits dropped, or entries, or bits looked up; t
    thresholds. log2 rounds up. Of a comparison tree: levels(w) rounds for w bits; node_bits(w) bits for "less",
    equal_bits(w) for "equal".
"""
