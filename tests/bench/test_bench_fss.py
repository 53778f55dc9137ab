"""`python -m mpckit bench fss` measures keys; what a figure is depends on the machine, that there is one does not."""

import json

from mpckit import __main__
from mpckit.bench import Options
from mpckit.bench import fss as bench_fss
from mpckit.fss import dcf, dpf


def test_a_row_for_every_case(monkeypatch, capsys):
    monkeypatch.setattr(bench_fss, "CHUNK", 64)
    assert __main__.main(["bench", "fss", "--repeat", "1", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["case"] for row in rows} == {
        "dpf gen",
        "dpf eval",
        "dpf less_than",
        "dcf gen",
        "dcf eval",
        "dpf eval_all",
        "lut",
        "lut signed",
    }
    assert all(list(row) == bench_fss.KEYS and row["per_second"] > 0 and row["of_aes"] > 0 for row in rows)
    sizes = {(row["case"], row["bits"]): row["key_bytes"] for row in rows}
    assert sizes["dpf gen", 40] == dpf.key_bits(40) / 8 == 560 and sizes["dcf gen", 40] == dcf.key_bits(40, 2) / 8


def test_the_table_names_the_way(monkeypatch, capsys):
    monkeypatch.setattr(bench_fss, "CHUNK", 64)
    assert bench_fss.main([], Options(repeat=1)) == 0
    assert "M hash calls/s" in capsys.readouterr().out
