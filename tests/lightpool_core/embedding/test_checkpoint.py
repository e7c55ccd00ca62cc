from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from lightpool_core.embedding.checkpoint import Checkpoint, is_intact
from lightpool_core.errors import CorruptPool, EmbedderMismatch, PoolError
from lightpool_plugins.embedders.gist import Gist


@dataclass(frozen=True)
class Weighted:
    """An embedder with weights, as far as a checkpoint looks at it."""

    dim: int = 3
    loaded: Mapping[str, Any] = field(default_factory=lambda: {"w": torch.arange(3.0), "name": "x", "n": 2})

    @property
    def fingerprint(self) -> str:
        return f"weighted-{self.loaded['w'].sum()}"

    def weights(self) -> Mapping[str, Any]:
        return self.loaded

    def with_weights(self, weights: Mapping[str, Any]) -> Weighted:
        return Weighted(self.dim, weights)


class Malice:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_an_embedder_without_weights_comes_back(tmp_path: Path) -> None:
    checkpoint = Checkpoint.of("gist", {"a": 1, "b": "x"}, Gist())
    checkpoint.write(tmp_path / "c.ckpt")
    assert Checkpoint.read(tmp_path / "c.ckpt") == checkpoint
    assert checkpoint.restored(Gist()) == Gist()
    assert [path.name for path in tmp_path.iterdir()] == ["c.ckpt"]


def test_weights_come_back_bit_for_bit(tmp_path: Path) -> None:
    own = {"w": torch.tensor([0.1, 5.0, -3.0]), "name": "y", "n": 7}
    Checkpoint.of("weighted", {}, Weighted(3, own)).write(tmp_path / "c.ckpt")
    restored = Checkpoint.read(tmp_path / "c.ckpt").restored(Weighted())
    assert isinstance(restored, Weighted)
    assert torch.equal(restored.loaded["w"], own["w"])
    assert (restored.loaded["name"], restored.loaded["n"]) == ("y", 7)


def test_an_embedder_that_is_another_one_by_now_is_refused() -> None:
    checkpoint = Checkpoint("gist", {}, "gist-0", 10)
    with pytest.raises(EmbedderMismatch, match="gist-0"):
        checkpoint.restored(Gist())


def test_writing_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "c.ckpt").write_text("old")
    Checkpoint.of("gist", {}, Gist()).write(tmp_path / "c.ckpt")
    assert Checkpoint.read(tmp_path / "c.ckpt").embedder == "gist"


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_file_is_a_corrupt_pool_in_one_line(keep: float, tmp_path: Path) -> None:
    Checkpoint.of("weighted", {}, Weighted()).write(tmp_path / "c.ckpt")
    content = (tmp_path / "c.ckpt").read_bytes()
    (tmp_path / "c.ckpt").write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    with pytest.raises(CorruptPool, match="delete it") as caught:
        Checkpoint.read(tmp_path / "c.ckpt")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [{}, [], 3, {"format": 1}, {"format": 1, "embedder": "gist", "else": 1}])
def test_a_file_with_other_content_is_a_corrupt_pool(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.ckpt")
    with pytest.raises(CorruptPool):
        Checkpoint.read(tmp_path / "c.ckpt")


def test_a_file_of_a_newer_format_asks_for_an_update(tmp_path: Path) -> None:
    torch.save({"format": 2}, tmp_path / "c.ckpt")
    with pytest.raises(PoolError, match="newer lightpool"):
        Checkpoint.read(tmp_path / "c.ckpt")


def test_a_missing_file_is_a_corrupt_pool(tmp_path: Path) -> None:
    with pytest.raises(CorruptPool):
        Checkpoint.read(tmp_path / "gone.ckpt")


def test_a_malicious_file_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    torch.save({"format": 1, "weights": Malice(mark)}, tmp_path / "zip.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Malice(mark)))
    torch.save(Malice(mark), tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    for name in ("zip", "plain", "old"):
        with pytest.raises(CorruptPool):
            Checkpoint.read(tmp_path / f"{name}.ckpt")
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_which_is_code_is_refused(tmp_path: Path) -> None:
    class Plain(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.script(Plain()).save(str(tmp_path / "script.ckpt"))  # type: ignore[no-untyped-call]
    with pytest.raises(CorruptPool, match="cannot be read"):
        Checkpoint.read(tmp_path / "script.ckpt")


@pytest.mark.parametrize("flipped", range(0, 40, 3))
def test_a_file_is_intact_until_a_bit_of_its_content_flips(flipped: int, tmp_path: Path) -> None:
    path = tmp_path / "c.ckpt"
    Checkpoint.of("weighted", {}, Weighted()).write(path)
    assert is_intact(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"fingerprint") + flipped
    content[at] ^= 1
    path.write_bytes(content)
    assert not is_intact(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None])
def test_what_is_no_checkpoint_is_not_intact(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "c.ckpt").write_bytes(content)
    assert not is_intact(tmp_path / "c.ckpt")
