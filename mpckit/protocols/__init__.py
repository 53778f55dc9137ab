"""Protocols: generators that say Draw, Open or Send. They import no session and no wire, and keep no state.

The last line of a docstring is the price of one call for one party and one peer, per element of the result; a test measures it:
    Price: rounds · bits sent    with w = bits of the ring, n = elements, and the functions of `tests/protocols/test_price.py`.
"""
