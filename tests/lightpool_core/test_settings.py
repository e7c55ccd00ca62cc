from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lightpool_core.errors import SettingsError
from lightpool_core.selection.stop import Stop
from lightpool_core.settings import SETTINGS_NAME, Overrides, PluginChoice, Settings


def read(pool: Path, text: str) -> Settings:
    (pool / SETTINGS_NAME).write_text(text, encoding="utf-8")
    return Settings.read(pool)


def complaint(pool: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(pool, text)
    assert len(str(caught.value).splitlines()) == 1
    assert str(pool / SETTINGS_NAME) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(
            inputs=(Path("/data/a b"), Path("/data/ü\"'\\")),
            filenames=Path("/data/list.txt"),
            embedder=PluginChoice("open-clip", {"model": "ViT-B-32", "half": True, "size": 3, "scale": 0.5}),
            sampler=PluginChoice("random"),
            n_samples=0.25,
            min_distance=0.1,
            min_seconds=2.5,
            max_per={"video": 30, "weather.kind": 20},
            metadata=Path("/data/metadata.csv"),
            predictions=Path("/data/predictions"),
            scores=Path("/data/scores.parquet"),
            compute_metadata=True,
            sequence_length=10,
            fps=None,
            seed=7,
            keep_history=False,
            csv=False,
        ),
        Settings(n_samples=10, fps=0.5),
        Settings(n_samples=1.0),
        Settings(n_samples=1),
        Settings(
            sampler=PluginChoice(
                "combined",
                {
                    "strategies": (
                        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY", "strength": 0.5}},
                        {
                            "input": {"type": "METADATA", "key": "weather"},
                            "strategy": {"type": "BALANCE", "target": {"heavy rain": 0.5, "a.b": 0.25, "ü": 0.25}},
                            "strength": -2,
                        },
                        {
                            "input": {"type": "EMBEDDINGS", "samples": ["a b.png", "c.png"]},
                            "strategy": {"type": "SIMILARITY"},
                        },
                    )
                },
            )
        ),
    ],
)
def test_settings_are_read_as_they_were_written(settings: Settings, tmp_path: Path) -> None:
    settings.write(tmp_path)
    again = Settings.read(tmp_path)
    assert again == settings
    assert type(again.n_samples) is type(settings.n_samples)
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS_NAME]


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Settings()


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    Settings().write(tmp_path)
    assert (tmp_path / SETTINGS_NAME).read_text().startswith("# Settings of this datapool")


def test_relative_paths_written_by_hand_start_at_the_pool(tmp_path: Path) -> None:
    settings = read(tmp_path, 'inputs = ["../raw"]\nfilenames = "list.txt"')
    assert settings.inputs == (tmp_path.parent / "raw",)
    assert settings.filenames == tmp_path / "list.txt"

    annotated = read(tmp_path, 'metadata = "m.csv"\npredictions = "../p"\nscores = "/s.csv"')
    assert annotated.metadata == tmp_path / "m.csv"
    assert annotated.predictions == tmp_path.parent / "p"
    assert annotated.scores == Path("/s.csv")


def test_minus_one_and_an_empty_path_are_off(tmp_path: Path) -> None:
    assert read(tmp_path, "n_samples = -1\nmin_distance = -1\nmin_seconds = -1\n[max_per]\nvideo = -1").stop == Stop()
    assert read(tmp_path, 'sequence_length = -1\nmetadata = ""\nscores = "-1"') == Settings()


def test_strategies_written_by_hand_are_those_of_a_selection_config(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        min_distance = 0.1
        [sampler]
        name = "combined"
        [[sampler.strategies]]
        input = {type = "EMBEDDINGS"}
        strategy = {type = "DIVERSITY", stopping_condition_minimum_distance = 0.2}
        [[sampler.strategies]]
        input = {type = "EMBEDDINGS", images = "queries"}
        strategy = {type = "SIMILARITY"}
        """,
    )
    assert settings.stop == Stop(min_distance=0.2)
    assert settings.sampler.options["strategies"] == (
        {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},
        {"input": {"type": "EMBEDDINGS", "images": str(tmp_path / "queries")}, "strategy": {"type": "SIMILARITY"}},
    )


def test_a_bad_strategy_is_named_with_its_place_in_the_file(tmp_path: Path) -> None:
    text = """
    [sampler]
    name = "combined"
    [[sampler.strategies]]
    input = {type = "EMBEDDINGS"}
    strategy = {type = "DIVERSTY"}
    """
    assert complaint(tmp_path, text) == (
        f"settings {tmp_path / SETTINGS_NAME}: sampler.strategies[0].strategy.type 'DIVERSTY' is unknown;"
        " did you mean DIVERSITY?"
    )


def test_fps_all_takes_every_frame(tmp_path: Path) -> None:
    assert read(tmp_path, 'fps = "all"').fps is None
    assert read(tmp_path, "fps = 2").fps == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nsamples = 3", "no setting 'nsamples'"),
        ("n_samples = 'many'", "n_samples"),
        ("n_samples = true", "n_samples = True should be of type int or float"),
        ("n_samples = 1.5", "no fraction"),
        ("n_samples = nan", "n_samples"),
        ("min_seconds = -3", "min_seconds -3 is no number of seconds"),
        ("min_seconds = 'long'", "min_seconds = 'long' should be of type int or float"),
        ("max_per = 3", "max_per = 3 should be of type dict"),
        ("max_per = {video = 0}", "max_per video 0 is no whole number"),
        ("max_per = {video = 'few'}", "max_per video few is no whole number"),
        ("max_per.weather.kind = 3", "max_per weather {'kind': 3} is no whole number"),
        ("metadata = 3", "metadata = 3 should be of type str"),
        ("predictions = ['a']", "predictions = ['a'] should be of type str"),
        ("scores = true", "scores = True should be of type str"),
        ("compute_metadata = 1", "compute_metadata = 1 should be of type bool"),
        ("sequence_length = 1", "sequence_length 1 is not 2 frames or more; -1 is off"),
        ("sequence_length = 2.5", "sequence_length = 2.5 should be of type int"),
        ("sampler = {name = 'combined', strategies = 3}", "sampler.strategies should be a list of tables"),
        ("min_distance = 3", "min_distance 3"),
        ("min_distance = nan", "min_distance"),
        ("fps = 0", "fps 0"),
        ("fps = -1", "fps -1"),
        ("fps = nan", "fps"),
        ("fps = inf", "fps"),
        ("fps = 'some'", "fps 'some'"),
        ("seed = 0.5", "seed"),
        ("seed = -1", "seed"),
        ("keep_history = 1", "keep_history"),
        ("inputs = 'raw'", "inputs"),
        ("inputs = [3]", "inputs"),
        ("embedder = 'gist'", "embedder"),
        ("[sampler]\nk = 3", "[sampler] needs a name"),
        ("[sampler]\nname = 3", "[sampler] needs a name"),
        ("this is no TOML", "cannot be read"),
        ("seed = 1\nseed = 2", "cannot be read"),
    ],
)
def test_a_bad_setting_is_named_with_its_file(text: str, said: str, tmp_path: Path) -> None:
    assert said in complaint(tmp_path, text)


def test_a_missing_file_and_one_that_is_no_text_are_settings_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.read(tmp_path)
    (tmp_path / SETTINGS_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        Settings.read(tmp_path)


@pytest.mark.parametrize("values", [{"fps": 0.0}, {"fps": 1001.0}, {"n_samples": -2}, {"min_distance": 2.5}])
def test_settings_in_code_are_checked_too(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings(**values)


def test_without_overrides_settings_stay_as_they_are() -> None:
    settings = Settings(inputs=(Path("/raw"),), n_samples=3, embedder=PluginChoice("gist", {"a": 1}))
    assert Overrides().over(settings) == settings


def test_overrides_win_and_minus_one_switches_off() -> None:
    settings = Settings(n_samples=3, min_distance=0.5, fps=2.0, seed=1, keep_history=True)
    changed = Overrides(n_samples=-1, min_distance=0.0, fps="all", seed=0, keep_history=False).over(settings)
    assert changed.stop == Stop(None, 0.0)
    assert (changed.fps, changed.seed, changed.keep_history) == (None, 0, False)


def test_limits_sequences_and_annotations_are_overridden_and_switched_off() -> None:
    settings = Settings(
        min_seconds=2.0,
        max_per={"video": 30, "folder": 50},
        metadata=Path("/m.csv"),
        predictions=Path("/p"),
        scores=Path("/s.csv"),
        compute_metadata=True,
        sequence_length=10,
    )
    assert Overrides(max_per={"label": 20}).over(settings).stop == Stop(min_seconds=2.0, max_per={"label": 20})
    off = Overrides(
        min_seconds=-1,
        max_per={},
        metadata="",
        predictions=Path("-1"),
        scores="-1",
        compute_metadata=False,
        sequence_length=-1,
    )
    assert dataclasses.replace(off.over(settings), min_seconds=None) == Settings()
    assert off.over(settings).stop == Stop()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A selection config with a count and a minimum distance."""
    path = tmp_path / "sel.json"
    diversity = {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1}
    strategies = [{"input": {"type": "EMBEDDINGS"}, "strategy": diversity}]
    path.write_text(json.dumps({"n_samples": 100, "strategies": strategies}))
    return path


def test_a_config_brings_its_sampler_and_conditions(config: Path) -> None:
    settings = Overrides(config=config).over(Settings(n_samples=3, min_distance=0.7))
    diversity = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    assert settings.sampler == PluginChoice("combined", {"strategies": (diversity,)})
    assert settings.stop == Stop(100, 0.1)


def test_conditions_of_the_command_line_win_over_those_of_a_config(config: Path) -> None:
    assert Overrides(config=config, n_samples=5).over(Settings()).stop == Stop(5, 0.1)
    assert Overrides(config=config, min_distance=-1).over(Settings()).stop == Stop(100)


def test_what_a_config_says_nothing_of_stays_as_it_is(config: Path) -> None:
    config.write_text('{"strategies": [{"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS"}}]}')
    assert Overrides(config=config).over(Settings(n_samples=3, min_distance=0.7)).stop == Stop(3, 0.7)


def test_a_config_is_for_no_other_sampler(config: Path) -> None:
    assert Overrides(config=config, sampler="combined").over(Settings()).sampler.name == "combined"
    with pytest.raises(SettingsError) as caught:
        Overrides(config=config, sampler="random").over(Settings())
    assert str(caught.value) == "--config is for the sampler combined, not for random; leave one out"


def test_another_sampler_forgets_the_strategies(config: Path) -> None:
    combined = Overrides(config=config).over(Settings())
    assert Overrides(sampler="diversity").over(combined).sampler == PluginChoice("diversity")


def test_paths_in_overrides_start_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    changed = Overrides(inputs=("raw", Path("/abs")), filenames="list.txt", sampler="mine.py:Mine").over(Settings())
    assert changed.inputs == (tmp_path / "raw", Path("/abs"))
    assert changed.filenames == tmp_path / "list.txt"
    assert changed.sampler.name == f"{tmp_path / 'mine.py'}:Mine"


def test_options_add_to_those_of_the_same_plugin_and_replace_those_of_another() -> None:
    settings = Settings(embedder=PluginChoice("open-clip", {"model": "a", "half": True}))
    same = Overrides(embedder="open-clip", embedder_options={"model": "b"}).over(settings)
    more = Overrides(embedder_options={"model": "b"}).over(settings)
    other = Overrides(embedder="gist").over(settings)
    assert same.embedder == more.embedder == PluginChoice("open-clip", {"model": "b", "half": True})
    assert other.embedder == PluginChoice("gist", {})


@pytest.mark.parametrize("fps", ["some", "", "-1", "0", "nan"])
def test_a_bad_override_is_a_settings_error(fps: str) -> None:
    with pytest.raises(SettingsError, match="fps"):
        Overrides(fps=fps).over(Settings())


def test_fewer_samples_than_one_sequence_has_are_refused() -> None:
    with pytest.raises(SettingsError, match="n_samples 3 is less than one sequence of 4 frames"):
        Settings(sequence_length=4, n_samples=3)
    assert Settings(sequence_length=4, n_samples=4).n_samples == 4


def test_a_limit_that_no_sequence_can_meet_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^max_per video 3 is less than one sequence of 4 frames; give 4 or more$"):
        Settings(sequence_length=4, max_per={"folder": 4, "video": 3})
    assert Settings(sequence_length=4, max_per={"video": 4, "folder": -1}).stop.max_per == {"video": 4}
    assert Settings(max_per={"video": 3}).stop.max_per == {"video": 3}
