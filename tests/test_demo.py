"""`mpckit demo` reads digits on real engines, prints the bill, and writes a page that needs no network."""

import re

import pytest

from mpckit.__main__ import main


def test_three_digits_are_read_and_billed(capsys, tmp_path):
    page = tmp_path / "demo.html"
    assert main(["demo", "--digits", "3", "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^ +(\d) +\1 +\1 +0\.00\d+$", out, re.M)) == 3  # label, plaintext, encrypted, error
    assert "3 of 3 predictions agree" in out and re.search(r"rounds +35$", out, re.M)
    for what in ("sent by a party", "offline, from the dealer", "seconds here", "on LAN", "on WAN"):
        assert what in out
    text = page.read_text(encoding="utf-8")
    assert text.count("<figcaption>") == 3 and text.count("Plotly.newPlot") == 5
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=['\"]https?:", text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--digits 1001", "--digits takes 1 to 1000, not 1001"),
        ("--parties 1", "--parties takes 2 or more, not 1"),
        ("--html nowhere/page.html", "--html nowhere/page.html: there is no folder nowhere"),
    ],
)
def test_what_cannot_be_shown_is_said_before_anything_starts(options, words):
    with pytest.raises(SystemExit, match=words):
        main(["demo", *options.split()])
