"""What telemetry costs, measured as in the bench; fewer pairs, so a coarser bound."""

import pytest

from mpckit.bench import Options
from mpckit.bench import events as bench_events


@pytest.mark.slow
def test_it_measures_pairs_on_engines(monkeypatch, capsys):
    row = bench_events.measure(batch=2, runs=1, pairs=6)
    assert row["pairs"] == 6 and row["dropped"] == 0 and row["seconds"] > 0
    assert row["events"] >= 2 * 6 * 35  # every round of every party, in one inference of each pair
    assert row["quartiles"][0] <= row["overhead"] <= row["quartiles"][1]
    monkeypatch.setattr(bench_events, "measure", lambda: row)
    assert bench_events.main([], Options()) == 0 and "telling every word adds" in capsys.readouterr().out
