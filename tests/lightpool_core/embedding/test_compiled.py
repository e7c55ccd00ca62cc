"""Networks that torch compiles: which batches they get, that they answer alike, and what is said where they cannot."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightpool_core.arrays import Array, Embeddings
from lightpool_core.embedding.compiled import Compiled
from lightpool_core.embedding.tower import Tower, batch_size
from lightpool_core.errors import PluginUnavailable

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
def test_a_compiled_network_answers_as_it_did_before_in_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    fast, plain, batch = tower(compiled=True), tower(compiled=False), pictures(FULL)
    answers = in_threads(2, lambda: fast.embed(batch))
    assert len(answers) == 2
    assert np.array_equal(*answers)
    assert np.allclose(answers[0], plain.embed(batch), rtol=0, atol=1e-5)
    assert any(file.is_file() for file in tmp_path.rglob("*")), "nothing was compiled"


@pytest.mark.parametrize("n", [1, FULL - 1])
def test_only_full_batches_are_worth_compiling(compilations: list[tuple[int, ...]], n: int) -> None:
    embedder = tower(compiled=True)
    assert np.array_equal(embedder.embed(pictures(n)), tower(compiled=False).embed(pictures(n)))
    assert compilations == []
    embedder.embed(pictures(FULL))
    assert compilations == [(FULL, 3, SIDE, SIDE)]


def test_who_does_not_ask_for_it_does_not_get_it(compilations: list[tuple[int, ...]]) -> None:
    embedder = tower(compiled=False)
    embedder.embed(pictures(FULL))
    assert compilations == []
    assert embedder.computes_in == "float32 on cpu"


@pytest.mark.usefixtures("compilations")
def test_what_is_compiled_says_so_because_its_last_bits_differ() -> None:
    assert tower(compiled=True).computes_in == "float32 on cpu, compiled"


def test_one_thread_compiles_while_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    def slow(module: torch.nn.Module, **_: Any) -> Callable[[torch.Tensor], Any]:
        def call(pixels: torch.Tensor) -> Any:
            log.append("began")
            time.sleep(0.1)
            log.append("ended")
            return module(pixels)

        return call

    monkeypatch.setattr(torch, "compile", slow)
    compiled = Compiled(Patches().eval())
    in_threads(3, lambda: np.asarray(compiled(torch.zeros(2, 3, SIDE, SIDE)).detach()))
    assert log[:2] == ["began", "ended"]
    assert len(log) == 6


def test_what_cannot_be_compiled_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pixels: torch.Tensor) -> Any:
        raise RuntimeError("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 for the full stack trace")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    with pytest.raises(PluginUnavailable) as caught:
        tower(compiled=True).embed(pictures(FULL))
    assert str(caught.value) == (
        "the model cannot be compiled: No working C++ compiler found;"
        " install a C++ compiler, such as g++, or leave out compile=true"
    )


@pytest.mark.usefixtures("compilations")
@pytest.mark.parametrize("by_torch", [True, False])
def test_what_was_compiled_is_not_kept_where_others_may_write(
    by_torch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv(PLACE, str(Path(tempfile.gettempdir()) / "torchinductor_anyone"))
    if not by_torch:
        monkeypatch.delenv(PLACE)
    Compiled(Patches())
    assert Path(os.environ[PLACE]) == tmp_path / "inductor"


@pytest.mark.usefixtures("compilations")
def test_a_place_that_was_chosen_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLACE, str(tmp_path))
    Compiled(Patches())
    assert os.environ[PLACE] == str(tmp_path)
