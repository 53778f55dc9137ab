"""Named randomness: the same words for the same seed and name, and no word twice.

Stream(seed, "draw/17").words((2, 3))     # the same on every machine
Stream(seed, "draw/18").words((2, 3))     # unrelated
"""

import itertools

import pytest
import torch

from mpckit.stream import SEED_BYTES, MetaStream, Stream, Streams, derive, fresh_seed

SEED = bytes(range(32))


def test_the_example():
    assert torch.equal(Stream(SEED, "draw/17").words((2, 3)), Stream(SEED, "draw/17").words((2, 3)))
    assert not torch.equal(Stream(SEED, "draw/17").words((2, 3)), Stream(SEED, "draw/18").words((2, 3)))


def test_seeds_and_labels_name_different_streams():
    seeds, labels = [SEED, bytes(32), SEED[:31] + b"\0"], ["a", "b", "", "a/0", "a0"]
    firsts = {tuple(Stream(s, label).words((2,)).tolist()) for s, label in itertools.product(seeds, labels)}
    derived = {derive(s, label) for s, label in itertools.product(seeds, labels)}
    assert len(firsts) == len(derived) == len(seeds) * len(labels)
    assert all(len(d) == SEED_BYTES for d in derived) and not derived & set(seeds)


def test_reading_moves_on_and_gives_no_word_twice():
    stream = Stream(SEED, "x")
    read = [stream.words(shape).reshape(-1) for shape in ((3,), (), (0,), (2, 2), (1,), (100,))]
    read += [stream.words((4,)), stream.words((4,))]
    everything = torch.cat(read)
    assert len(everything.unique()) == len(everything) == 3 + 1 + 0 + 4 + 1 + 100 + 8
    whole = Stream(SEED, "x").words((100,))
    assert torch.equal(whole[:3], read[0]), "the first words do not depend on how many are asked for"


def test_bits_after_words_come_from_unread_words():
    stream = Stream(SEED, "x")
    words = stream.words((64,))
    later = stream.bits((4096,))
    assert not torch.equal(later, Stream(SEED, "x").bits((4096,)))
    assert not set(words.tolist()) & set(stream.words((64,)).tolist())


def test_words_and_bits_are_uniform():
    words = Stream(SEED, "uniform").words((1 << 16,))
    for byte in words.view(torch.uint8).reshape(-1, 8).T:  # each of the eight places by itself
        counts = torch.bincount(byte.int(), minlength=256).double()
        assert ((counts - 256) ** 2 / 256).sum() < 380  # chi-square, 255 degrees of freedom: 1e-6
    bits = Stream(SEED, "uniform").bits((1 << 18,)).double()
    assert (bits.mean() - 0.5).abs() < 5 * 0.5 / 512
    assert ((bits[1:] - 0.5) * (bits[:-1] - 0.5)).mean().abs() < 5 * 0.25 / 512


def test_shapes():
    for shape in ((), (0,), (3, 0), (1,), (7, 9)):
        assert Stream(SEED, "x").words(shape).shape == Stream(SEED, "x").bits(torch.Size(shape)).shape == shape
        assert Stream(SEED, "x").bits(shape).dtype == torch.bool
        for draw, dtype in ((MetaStream().words, torch.int64), (MetaStream().bits, torch.bool)):
            assert draw(shape).is_meta and draw(shape).shape == shape and draw(shape).dtype == dtype


def test_fresh_seeds_differ():
    assert len({fresh_seed() for _ in range(100)}) == 100


def test_streams_side_by_side_give_what_each_gives():
    some, again = ([Stream(seed, "part") for seed in (b"a" * 32, b"b" * 32, b"c" * 32)] for _ in range(2))
    whole = Streams(some)
    for draw, shape in (("words", (5,)), ("bits", (5, 8)), ("bits", (64,)), ("words", (2, 2)), ("bits", (7,))):
        expected = torch.cat([getattr(s, draw)(shape) for s in again])
        assert torch.equal(getattr(whole, draw)((3 * shape[0], *shape[1:])), expected)
    with pytest.raises(ValueError, match="3 streams side by side cannot give"):
        whole.words((4,))
    again[0].words((1,))
    with pytest.raises(ValueError, match="equally much"):
        Streams(again)
