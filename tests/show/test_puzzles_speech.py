"""The puzzles of notebook 11: guesses, orders and lengths that are nearly right are told apart from right ones."""

from itertools import groupby

import torch
from verdicts import last, verdict


def nearest(voice):
    def answer(features, known):
        return min(known, key=lambda pair: (voice(pair[0]) - voice(features)).norm())[1]

    return answer


def test_a_voice_is_in_the_mean_and_spread_of_its_features(capsys):
    def who_speaks(features, known):
        return nearest(lambda f: torch.cat((f.mean(1), f.std(1))))(features, known)

    found, end = verdict(capsys, who_speaks)
    assert found == "✓ leak     names 54 of 60 speakers from features alone; chance names 10"
    assert end == "who_speaks is solved"


def test_whoever_guesses_or_looks_at_loudness_alone_names_too_few(capsys):
    def guess():
        def who_speaks(features, known):
            return known[0][1]

        return who_speaks

    def who_speaks(features, known):
        return nearest(lambda f: f.mean().reshape(1))(features, known)

    assert last(capsys, guess()) == "✗ leak     names 10 of 60 speakers from features alone; chance names 10"
    assert last(capsys, who_speaks).startswith("✗ leak     names ")


def test_blanks_that_are_dropped_first_lose_a_letter(capsys):
    def collapse(steps):
        return " ".join("".join(k for k, _ in groupby(steps.replace("-", ""))).split())

    assert last(capsys, collapse) == "✗ right    'th-r-ee-e--' says 'three', not 'thre'"


def test_spaces_count(capsys):
    def collapse(steps):
        return "".join(k for k, _ in groupby(steps)).replace("-", "")

    assert last(capsys, collapse).startswith("✗ right    'f-oouur  -  ttwwo-' says 'four two', not ")


def test_the_right_order_reads_a_real_recording(capsys):
    def collapse(steps):
        return " ".join("".join(k for k, _ in groupby(steps)).replace("-", "").split())

    right, spoken, end = verdict(capsys, collapse)
    assert spoken.startswith("✓ spoken   ") and end == "collapse is solved"


def test_computing_and_hopeless_lines_are_not_forgotten(capsys):
    def longest():
        def keeps_up(prices, link):
            return max(prices)

        return keeps_up

    def always():
        def keeps_up(prices, link):
            return min(prices, key=lambda length: link.seconds(*prices[length]) / length)

        return keeps_up

    def keeps_up(prices, link):
        return next((s for s in sorted(prices) if link.seconds(*prices[s]) <= s), None)

    assert last(capsys, longest()) == "✗ right    on LAN 0.2 s is the shortest that keeps up, not 2.0"
    assert last(capsys, always()).startswith("✗ right    on LAN 0.2 s is the shortest")
    assert verdict(capsys, keeps_up)[-2:] == ["✓ right    on satellite: none", "keeps_up is solved"]
