from pathlib import Path

import pytest

from lightpool_core.embedding import lanes


@pytest.mark.parametrize(
    ("said", "most"), [("max 100000", 10**6), ("150000 100000", 1), ("50000 100000", 1), ("", 10**6)]
)
def test_a_container_is_not_taken_for_the_whole_machine(
    said: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(lanes, "_CPU_MAX", tmp_path / "none")
    lanes._quota.cache_clear()
    everything = lanes.n_cores()
    monkeypatch.setattr(lanes, "_CPU_MAX", tmp_path / "cpu.max")
    lanes._quota.cache_clear()
    assert lanes.n_cores() == min(everything, most)
    lanes._quota.cache_clear()
