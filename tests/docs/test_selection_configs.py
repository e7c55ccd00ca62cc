"""The page about selection configs: its examples are understood, and it leaves no strategy, input or option out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lightpool_core.errors import SettingsError
from lightpool_core.selection import strategy_config
from lightpool_core.selection.strategy_config import parsed_strategies
from lightpool_core.selection_config import read_config
from lightpool_core.settings import SETTINGS_NAME, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "selection-configs.md").read_text(encoding="utf-8")
NAMES = {
    *(name for names in strategy_config._INPUT_FIELDS.values() for name in names),
    *(name for names in strategy_config._STRATEGY_FIELDS.values() for name in names),
    *strategy_config._INPUT_FIELDS,
    *strategy_config._STRATEGY_FIELDS,
    *strategy_config._PREDICTIONS,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_its_configs_are_understood(tmp_path: Path) -> None:
    whole, entry = blocks("json")
    (tmp_path / "selection.json").write_text(whole, encoding="utf-8")
    config = read_config(tmp_path / "selection.json")
    assert (config.n_samples, config.min_distance, len(config.strategies)) == (100, 0.1, 3)
    assert parsed_strategies([json.loads(entry)])[0].type == "SIMILARITY"
    [settings] = blocks("toml")
    (tmp_path / SETTINGS_NAME).write_text(settings, encoding="utf-8")
    read = Settings.read(tmp_path)
    assert read.stop == Settings(n_samples=100, min_distance=0.1).stop


@pytest.mark.parametrize("name", sorted(NAMES))
def test_no_name_is_left_out(name: str) -> None:
    assert re.search(rf"`{name}`|\"{name}\"", PAGE)


def test_its_messages_are_those_that_are_given(tmp_path: Path) -> None:
    lines = re.findall(r"^lightpool: config selection\.json: (.+)$", PAGE, flags=re.MULTILINE)
    embeddings, metadata = {"type": "EMBEDDINGS"}, {"type": "METADATA", "key": "weather"}
    good = {"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}
    balance = {"type": "BALANCE", "target": {"rain": 0.5, "sun": 0.4}}
    bad = [
        [good, {"input": embeddings, "strategy": {"type": "DIVERSTY"}}],
        [{"input": {"type": "METADATA"}, "strategy": {"type": "WEIGHTS"}}],
        [good, good, {"input": metadata, "strategy": balance}],
    ]
    for line, strategies in zip(lines, bad, strict=True):
        with pytest.raises(SettingsError) as caught:
            parsed_strategies(strategies)
        assert str(caught.value) == line
