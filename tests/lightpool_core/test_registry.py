from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightpool_core import registry
from lightpool_core.errors import ContractViolation, PluginUnavailable, SettingsError, UnknownPlugin
from lightpool_core.registry import installed, make, names, same_results
from lightpool_core.settings import PluginChoice
from lightpool_plugins.embedders.gist import Gist
from lightpool_plugins.samplers.diversity import Diversity

PLUGIN = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    from pathlib import Path
    from typing import Literal, Optional

    @dataclass(frozen=True)
    class Mine:
        '''Mine alone.

        More of it.
        '''
        count: int
        ratio: float = 0.5
        name: str = "x"
        flag: bool = False
        where: Path | None = None
        maybe: Optional[int] = None
        kind: Literal["a", "b"] = "a"
        threads: int = field(default=1, metadata={"runtime": True})
        inner: int = field(default=0, metadata={"option": False})

    class Plain:
        pass
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(textwrap.dedent(PLUGIN))
    return tmp_path / "mine.py"


def made(file: Path, **options: Any) -> Any:
    return make("sampler", PluginChoice(f"{file}:Mine", options))


def test_what_is_in_the_box_is_found_by_name() -> None:
    assert {"gist", "open-clip"} <= set(names("embedder"))
    assert {"diversity", "random"} <= set(names("sampler"))
    assert names("embedder") == sorted(names("embedder"))
    assert make("embedder", PluginChoice("gist")) == Gist()
    assert make("sampler", PluginChoice("diversity")) == Diversity()


def test_every_installed_plugin_describes_itself() -> None:
    found = {info.name: info for info in installed()}
    assert {"gist", "open-clip", "diversity", "random"} <= set(found)
    assert found["gist"].kind == "embedder"
    assert found["gist"].description.startswith("Layout of edges")
    assert found["gist"].distribution.startswith("lightpool ")
    assert found["diversity"].error == ""


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(UnknownPlugin, match="did you mean diversity"):
        make("sampler", PluginChoice("diversty"))
    with pytest.raises(UnknownPlugin, match="installed are"):
        make("sampler", PluginChoice("zzz"))
    with pytest.raises(UnknownPlugin):
        make("embedder", PluginChoice("diversity"))


def test_a_class_in_a_file_needs_no_packaging(file: Path) -> None:
    mine = made(file, count=3)
    assert (type(mine).__name__, mine.count, mine.ratio) == ("Mine", 3, 0.5)


def test_words_from_a_command_line_become_what_the_fields_ask_for(file: Path) -> None:
    mine = made(file, count="3", ratio="0.25", name="y", flag="yes", where="a/b", maybe="4", kind="b")
    assert (mine.count, mine.ratio, mine.name, mine.flag) == (3, 0.25, "y", True)
    assert (mine.where, mine.maybe, mine.kind) == (Path("a/b"), 4, "b")
    assert made(file, count=1, flag="False").flag is False


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs the option count"),
        ({"count": "many"}, "option count"),
        ({"count": 1, "ratio": "x"}, "option ratio"),
        ({"count": 1, "flag": "perhaps"}, "true or false"),
        ({"count": 1, "kind": "c"}, "it can be a, b"),
        ({"count": 1, "maybe": "x"}, "option maybe"),
        ({"count": 1, "other": 2}, "no option 'other'; its options are count"),
        ({"count": 1, "inner": 2}, "no option 'inner'"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], said: str, file: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        made(file, **options)


TABLES = """
    from collections.abc import Mapping
    from dataclasses import dataclass
    from typing import Any

    @dataclass(frozen=True)
    class Tabled:
        steps: tuple[Mapping[str, Any], ...]

    @dataclass(frozen=True)
    class Optional:
        steps: tuple[Mapping[str, Any], ...] = ()
"""


def test_an_option_may_be_a_list_of_tables(tmp_path: Path) -> None:
    (tmp_path / "tabled.py").write_text(textwrap.dedent(TABLES))
    name = f"{tmp_path / 'tabled.py'}:Tabled"
    assert make("sampler", PluginChoice(name, {"steps": [{"a": 1}, {"b": {"c": 2}}]})).steps == (
        {"a": 1},
        {"b": {"c": 2}},
    )
    assert make("sampler", PluginChoice(f"{tmp_path / 'tabled.py'}:Optional")).steps == ()
    for value in ("a=1", 3, [3], {"a": 1}):
        with pytest.raises(SettingsError) as caught:
            make("sampler", PluginChoice(name, {"steps": value}))
        said = f"is {value!r}; it has to be a list of tables, which comes with --config FILE"
        assert str(caught.value) == f"option steps of sampler {name} {said}"
    with pytest.raises(SettingsError) as caught:
        make("sampler", PluginChoice(name))
    assert str(caught.value) == f"sampler {name} needs the option steps; it comes with --config FILE"


def test_a_list_of_tables_is_called_so() -> None:
    [combined] = [plugin for plugin in installed() if plugin.name == "combined"]
    assert {option.name: option.type for option in combined.options}["strategies"] == "list of tables"


def test_an_option_for_a_plugin_without_any_is_named() -> None:
    with pytest.raises(SettingsError, match="it has none"):
        make("embedder", PluginChoice("gist", {"k": 1}))


def test_the_device_of_a_run_is_set_where_a_plugin_has_such_an_option_and_the_choice_leaves_it_open() -> None:
    assert make("sampler", PluginChoice("diversity"), device="cpu").device == "cpu"
    assert make("sampler", PluginChoice("diversity", {"device": "mps"}), device="cpu").device == "mps"
    assert make("sampler", PluginChoice("diversity")).device == "auto"
    make("embedder", PluginChoice("gist"), device="cpu")


def test_a_class_that_is_no_dataclass_breaks_the_contract(file: Path) -> None:
    with pytest.raises(ContractViolation, match="no dataclass"):
        make("sampler", PluginChoice(f"{file}:Plain"))


def test_a_missing_file_or_class_is_named(file: Path) -> None:
    with pytest.raises(UnknownPlugin, match="does not exist"):
        make("sampler", PluginChoice(f"{file.with_name('gone.py')}:Mine"))
    with pytest.raises(UnknownPlugin, match="has no class Other"):
        make("sampler", PluginChoice(f"{file}:Other"))


@pytest.mark.parametrize("code", ["import no_such_module_at_all", "1 / 0", "def"])
def test_a_file_that_cannot_be_imported_says_why_in_one_line(code: str, file: Path) -> None:
    file.write_text(code)
    with pytest.raises(PluginUnavailable, match="cannot be used: ") as caught:
        made(file)
    assert len(str(caught.value).splitlines()) == 1


def test_options_that_only_change_speed_change_nothing(file: Path) -> None:
    # Loaded twice, a class in a file is two classes: compare what one class made.
    mine = made(file, count=1)
    faster, other = replace(mine, threads=4), replace(mine, count=2, threads=4)
    assert same_results(mine, faster)
    assert not same_results(mine, other)
    assert not same_results(Gist(), Diversity())


def test_a_stranger_that_cannot_be_imported_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lightpool.samplers]\nbroken = no_such_module_at_all:Broken\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = {plugin.name: plugin for plugin in registry.installed()}
    assert "ModuleNotFoundError" in found["broken"].error
    assert found["diversity"].error == ""
    with pytest.raises(PluginUnavailable, match=r"sampler broken \(stranger 1\.0\) cannot be used"):
        make("sampler", PluginChoice("broken"))


def test_two_plugins_from_one_file_are_of_one_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Mine:\n    n: int = 1\n")
    choice = PluginChoice(f"{file}:Mine")
    assert same_results(make("embedder", choice), make("embedder", choice))


def test_a_plugin_that_is_installed_while_we_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "late" not in names("sampler")
    late = tmp_path / "late-1.0.dist-info"
    late.mkdir()
    (late / "entry_points.txt").write_text("[lightpool.samplers]\nlate = late:Late\n")
    assert "late" in names("sampler")


def test_a_folder_that_may_not_be_looked_into_hides_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shut, stat = tmp_path / "shut", Path.stat

    def refusing(path: Path, **how: Any) -> Any:
        if path == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.syspath_prepend(str(shut))
    monkeypatch.setattr(Path, "stat", refusing)
    assert "gist" in names("embedder")
