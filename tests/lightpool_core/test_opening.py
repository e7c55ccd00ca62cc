from __future__ import annotations

from pathlib import Path

import pytest

from lightpool_core.errors import SourceNotFound
from lightpool_core.opening import create, described
from lightpool_core.settings import PluginChoice, Settings


def test_a_choice_is_described_by_its_options() -> None:
    assert described(PluginChoice("diversity")) == "diversity"
    assert (
        described(PluginChoice("open-clip", {"model": "ViT-B-32", "size": 3})) == "open-clip (model=ViT-B-32, size=3)"
    )


def test_strategies_are_described_by_what_they_are_of() -> None:
    strategies = (
        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},
        {"input": {"type": "METADATA", "key": "weather"}, "strategy": {"type": "BALANCE", "distribution": "UNIFORM"}},
    )
    choice = PluginChoice("combined", {"strategies": strategies})
    assert described(choice) == "combined (strategies=DIVERSITY of EMBEDDINGS × BALANCE of METADATA weather)"


def test_tables_that_are_no_strategies_are_counted() -> None:
    assert described(PluginChoice("mine", {"steps": [{"a": 1}, {"b": 2}]})) == "mine (steps=2 tables)"


@pytest.mark.parametrize("name", ["metadata", "predictions", "scores"])
def test_no_pool_is_made_with_annotations_that_are_not_there(name: str, tmp_path: Path) -> None:
    settings = Settings(embedder=PluginChoice("gist"), **{name: tmp_path / "missing.csv"})  # type: ignore[arg-type]
    with pytest.raises(SourceNotFound) as caught:
        create(tmp_path / "pool", settings)
    assert str(caught.value) == (
        f"{name} {tmp_path / 'missing.csv'} does not exist; give the file or folder that holds them"
    )
    assert list(tmp_path.iterdir()) == []
