"""Networks that torch compiles: which batches they get, that they answer alike, and what is said where they cannot."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightpool_core.arrays import Array, Embeddings
from lightpool_core.embedding.tower import Tower, batch_size
from lightpool_core.errors import PluginUnavailable
from lightpool_plugins.embedders.open_clip import OpenClip
from lightpool_plugins.embedders.timm_models import Timm

SIDE = 24
FULL = batch_size("cpu")
PLACE = "TORCHINDUCTOR_CACHE_DIR"


class Patches(torch.nn.Module):
    """Convolution, normalisation and a bend, as in larger networks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.BatchNorm2d(8), torch.nn.SiLU())

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layers(pictures)).mean((2, 3))


def tower(*, compiled: bool) -> Tower:
    return Tower.on(
        "cpu", "fp32", Patches(), (0.5, 0.4, 0.5), (0.25, 0.25, 0.3), (SIDE, SIDE), compiled=compiled
    )  # fmt: skip


def pictures(n: int) -> Array:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


def in_threads(n: int, call: Callable[[], Embeddings]) -> list[Embeddings]:
    """The answers of so many threads that began together."""
    answers: list[Embeddings] = []
    start = threading.Barrier(n)

    def ask() -> None:
        start.wait()
        answers.append(call())

    threads = [threading.Thread(target=ask) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps what it compiled."""
    monkeypatch.setenv(PLACE, str(tmp_path))
    return tmp_path


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what compiled networks were given; nothing is compiled in truth."""
    given: list[tuple[int, ...]] = []

    def pretended(module: torch.nn.Module, **_: Any) -> Callable[[torch.Tensor], Any]:
        def call(pixels: torch.Tensor) -> Any:
            given.append(tuple(pixels.shape))
            return module(pixels)

        return call

    monkeypatch.setattr(torch, "compile", pretended)
    return given


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch needs a C++ compiler for it")
def test_a_compiled_network_answers_as_it_did_before_in_several_threads(place: Path) -> None:
    fast, plain, batch = tower(compiled=True), tower(compiled=False), pictures(FULL)
    fast.get_ready((SIDE, SIDE))
    kept = {file for file in place.rglob("*") if file.is_file()}
    assert kept, "nothing was compiled"
    answers = in_threads(2, lambda: fast.embed(batch))
    assert len(answers) == 2
    assert np.array_equal(*answers)
    assert np.allclose(answers[0], plain.embed(batch), rtol=0, atol=1e-5)
    assert {file for file in place.rglob("*") if file.is_file()} == kept, "was compiled once more"


@pytest.mark.parametrize("n", [1, FULL - 1])
def test_only_full_batches_are_worth_compiling(compilations: list[tuple[int, ...]], n: int) -> None:
    embedder = tower(compiled=True)
    embedder.get_ready((SIDE, SIDE))
    full = (FULL, 3, SIDE, SIDE)
    assert compilations == [full]
    assert np.array_equal(embedder.embed(pictures(n)), tower(compiled=False).embed(pictures(n)))
    assert compilations == [full]
    embedder.embed(pictures(FULL))
    assert compilations == [full, full]


def test_who_has_not_got_ready_compiles_nothing(compilations: list[tuple[int, ...]]) -> None:
    assert np.array_equal(tower(compiled=True).embed(pictures(FULL)), tower(compiled=False).embed(pictures(FULL)))
    assert compilations == []


def test_who_does_not_ask_for_it_does_not_get_it(compilations: list[tuple[int, ...]]) -> None:
    embedder = tower(compiled=False)
    embedder.get_ready((SIDE, SIDE))
    embedder.embed(pictures(FULL))
    assert compilations == []
    assert embedder.computes_in == "float32 on cpu"


def test_each_network_is_compiled_once(compilations: list[tuple[int, ...]]) -> None:
    modules = [Patches().eval(), Patches().eval()]
    several = Tower([*modules, modules[0]], torch.float32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), FULL)
    several.get_ready((SIDE, SIDE))
    several.get_ready((SIDE, SIDE))
    assert len(compilations) == 2
    answers = [several.embed(pictures(FULL)) for _ in range(3)]
    assert len(compilations) == 5
    assert np.array_equal(answers[0], answers[1])


def test_what_is_compiled_says_so_because_its_last_bits_differ() -> None:
    assert tower(compiled=True).computes_in == "float32 on cpu, compiled"


def test_what_cannot_be_compiled_is_told_in_one_line_and_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pixels: torch.Tensor) -> Any:
        raise RuntimeError("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 for the full stack trace")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    embedder = tower(compiled=True)
    with pytest.raises(PluginUnavailable) as caught:
        embedder.get_ready((SIDE, SIDE))
    assert str(caught.value) == (
        "the model cannot be compiled: No working C++ compiler found; leave out compile=true,"
        " or mend that (on a CPU, torch needs a C++ compiler such as g++)"
    )
    assert np.array_equal(embedder.embed(pictures(FULL)), tower(compiled=False).embed(pictures(FULL)))


@pytest.mark.usefixtures("compilations")
@pytest.mark.parametrize("by_torch", [True, False])
def test_what_was_compiled_is_not_kept_where_others_may_write(
    by_torch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv(PLACE, str(Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"))
    if not by_torch:
        monkeypatch.delenv(PLACE)
    tower(compiled=True).get_ready((SIDE, SIDE))
    assert Path(os.environ[PLACE]) == tmp_path / "inductor"


@pytest.mark.usefixtures("compilations")
@pytest.mark.parametrize("name", ["mine", "torchinductor_mine"])
def test_a_place_that_was_chosen_stays(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path / name))
    tower(compiled=True).get_ready((SIDE, SIDE))
    assert os.environ[PLACE] == str(tmp_path / name)


def test_a_user_without_a_name_can_compile_as_well(
    compilations: list[tuple[int, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    tower(compiled=True).get_ready((SIDE, SIDE))
    assert len(compilations) == 1
    assert (tmp_path / f"torchinductor_uid_{os.getuid()}").is_dir()


@pytest.mark.usefixtures("compilations")
def test_a_folder_of_somebody_else_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(getpass, "getuser", lambda: "anyone")
    theirs = tmp_path / "torchinductor_anyone"
    theirs.mkdir()
    ours = theirs.stat().st_uid + 1
    monkeypatch.setattr(os, "getuid", lambda: ours)
    with pytest.raises(PluginUnavailable, match=f"{theirs}, which torch would trust, is another user's: set TMPDIR"):
        tower(compiled=True).get_ready((SIDE, SIDE))


@pytest.mark.parametrize("model", [Timm(device="cpu", compile=True), OpenClip(device="cpu", compile=True)])
def test_the_option_reaches_the_network(
    model: Timm | OpenClip, compilations: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model), "_build", lambda _: Patches())
    for each, expected in ((replace(model, compile=False), []), (model, [(FULL, 3)])):
        assert each.computes_in == "float32 on cpu" + bool(expected) * ", compiled"
        if each.get_ready:
            each.get_ready()
        assert [shape[:2] for shape in compilations] == expected
