from __future__ import annotations

import json

from lightpool_cli.console import achieved
from lightpool_core.report import Achieved


def test_of_many_classes_those_with_the_largest_target_or_share_are_shown() -> None:
    shares = {f"c{i}": 0.0 for i in range(2000)} | {"c7": 0.25, "c1500": 0.5}
    targets = dict.fromkeys(shares, 0.0001) | {"c3": 0.4, "c7": 0.1}
    [(name, told)] = achieved([Achieved("BALANCE of METADATA kind", shares, targets)], "--json shows all")
    assert name == "achieved"
    first, *others = told.removeprefix("BALANCE of METADATA kind: ").split(", ")
    assert [first, *others[:2]] == ["c1500 0.5 (target 0.0001)", "c3 0 (target 0.4)", "c7 0.25 (target 0.1)"]
    assert len(others) == 11
    assert others[-2:] == ["and 1990 more", "--json shows all"]


def test_few_values_are_all_shown_in_their_order() -> None:
    ten = {str(i): i / 100 for i in range(10)}
    two = {"least distance": 0.1, "mean distance": 0.5}
    rows = list(achieved([Achieved("BALANCE", ten), Achieved("DIVERSITY", two)], "elsewhere"))
    assert rows == [
        ("achieved", "BALANCE: 0 0, 1 0.01, 2 0.02, 3 0.03, 4 0.04, 5 0.05, 6 0.06, 7 0.07, 8 0.08, 9 0.09"),
        ("", "DIVERSITY: least distance 0.1, mean distance 0.5"),
    ]


def test_the_summary_is_bounded_and_the_report_has_every_class(lightpool, draw, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    for seed in range(14):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    about = "".join(f"{seed}.png,kind{seed}\n" for seed in range(14))
    (tmp_path / "about.csv").write_text(f"filename,kind\n{about}", encoding="utf-8")
    balance = {"type": "BALANCE", "distribution": "UNIFORM"}
    strategies = [{"input": {"type": "METADATA", "key": "kind"}, "strategy": balance}]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"n_samples": 14, "strategies": strategies}), encoding="utf-8")
    files = ("--config", config, "--metadata", tmp_path / "about.csv")
    append = ("append", "--pool", tmp_path / "pool", "--input", tmp_path / "in", "--embedder", "gist", *files)
    assert "and 4 more, --json shows all" in lightpool(*append, "--dry-run").out
    done = lightpool(*append, "--max-per", "kind=2", "--min-seconds", 1.5)
    [path] = (tmp_path / "pool").glob("runs/*/report.json")
    assert ", n_samples 14, min_seconds 1.5, max_per kind 2 " in done.out
    assert f"and 4 more, in {tmp_path / 'pool'}/runs/{path.parent.name}/report.json" in done.out
    assert len(json.loads(path.read_text(encoding="utf-8"))["achieved"][0]["values"]) == 14

    select = ("select", "--pool", tmp_path / "pool", *files)
    told = lightpool(*select)
    assert told.err.endswith("and 4 more, --json shows all\n")
    assert len(told.lines) == 14
    assert len(lightpool(*select, "--json").json["achieved"][0]["values"]) == 14
