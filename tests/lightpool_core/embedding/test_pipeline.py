from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from lightpool_core.arrays import Array, Embeddings, Pixels, array_digest
from lightpool_core.embedding import pipeline
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.pictures import Ending
from lightpool_core.embedding.pipeline import Effort, embed_sources
from lightpool_core.errors import ContractViolation, PoolError
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.image import read_image
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import Source
from lightpool_plugins.embedders.gist import Gist


@dataclass(frozen=True)
class MeanColour:
    dim: int = 4
    fingerprint: str = "mean-1"
    input_size: int = 1
    near_duplicate: float = 0.1

    def prepare(self, pixels: Pixels) -> Array:
        return np.append(pixels.mean(axis=(0, 1)) / 255, 1).astype(np.float32)

    def embed(self, batch: Array) -> Embeddings:
        return batch


class Failing(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        raise RuntimeError("out of memory")


class Wide(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch.astype(np.float64)


class Zero(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch * (batch[:, :1] > 0)


@dataclass(frozen=True)
class InTens(MeanColour):
    batch_size: int = 10


@dataclass(frozen=True)
class InLanes(InTens):
    """Takes three batches at once, and long for each second one."""

    lanes: int = 3
    seen: list[str] = field(default_factory=list, compare=False)

    def embed(self, batch: Array) -> Embeddings:
        self.seen.append(threading.current_thread().name)
        time.sleep(0.05 if len(self.seen) % 2 else 0)
        return batch

    def preparer(self) -> MeanColour:
        return MeanColour()


class Beginning(InLanes):
    """Takes so long for the first batches that all that may wait does."""

    def embed(self, batch: Array) -> Embeddings:
        self.seen.append(threading.current_thread().name)
        time.sleep(1.0 if len(self.seen) <= self.lanes else 0.01)
        return batch


class FailingInLanes(InLanes):
    def embed(self, batch: Array) -> Embeddings:
        raise RuntimeError("out of memory")


@dataclass(frozen=True)
class GetsReady(InTens):
    """Has something to do before batches that may be full."""

    log: list[int] = field(default_factory=list, compare=False)

    def get_ready(self) -> None:
        self.log.append(0)

    def embed(self, batch: Array) -> Embeddings:
        self.log.append(len(batch))
        return batch

    def preparer(self) -> MeanColour:
        return MeanColour()


@dataclass(frozen=True)
class IsReady(MeanColour):
    get_ready: None = None


class OwnShape(MeanColour):
    def prepare(self, pixels: Pixels) -> Array:
        return pixels


class Refusing(MeanColour):
    def prepare(self, pixels: Pixels) -> Array:
        if len(pixels) == 7:
            raise ZeroDivisionError("seven rows")
        return super().prepare(pixels)


@dataclass(frozen=True)
class Watched(MeanColour):
    """Looks around while it embeds: the same in every process, but for what it saw."""

    seen: list[int] = field(default_factory=list, compare=False)

    def embed(self, batch: Array) -> Embeddings:
        self.seen.append(len(batch))
        return batch

    def preparer(self) -> MeanColour:
        return MeanColour()


@dataclass(frozen=True)
class Sizes(MeanColour):
    """Remembers how large the pictures were that it got."""

    input_size: int = 30

    def prepare(self, pixels: Pixels) -> Array:
        return np.array([*pixels.shape, 1], np.float32)


@dataclass(frozen=True)
class Stuck(MeanColour):
    """Holds what no other process can have."""

    lock: Any = field(default_factory=threading.Lock)


@dataclass
class Embedded:
    """What a run left in its journal, in the order of the sources."""

    effort: Effort
    digests: list[list[str]]
    frames: list[list[int | None]]
    sizes: list[tuple[int, int]]
    endings: list[Ending]
    embeddings: Embeddings


def pictures(folder: Path, n: int) -> list[Source]:
    for i in range(n):
        Image.new("RGB", (8 + i % 3, 6), (i % 256, 100, 255 - i % 256)).save(folder / f"{i:03}.png")
    return list_sources([folder])


def clip(file: Path, pattern: str, n_frames: int, *options: str) -> None:
    quiet = [ffmpeg_command(), "-nostdin", "-y", "-loglevel", "error"]
    coded = ["-frames:v", str(n_frames), "-c:v", "ffv1", *options]
    subprocess.run([*quiet, "-f", "lavfi", "-i", pattern, *coded, file], check=True)


def embedded(
    sources: Sequence[Source], folder: Path, embedder: Any = None, *, journal: Journal | None = None, **how: Any
) -> Embedded:
    embedder = MeanColour() if embedder is None else embedder
    journal = journal or Journal(folder / "journal", Maker(embedder.fingerprint, "", embedder.dim))
    keys = {source.name: source for source in sources}
    effort = embed_sources(keys, embedder, journal, reading=Reading(**{"fps": 1.0, **how}))
    entries = journal.entries(keys)
    rows = {key: [row for row in entries.pictures.to_pylist() if row["source"] == key] for key in keys}
    ordered = [row for key in keys for row in rows[key]]
    return Embedded(
        effort,
        [[row["digest"] for row in rows[key]] for key in keys],
        [[row["frame"] for row in rows[key]] for key in keys],
        [(row["width"], row["height"]) for row in ordered],
        [entries.endings[key] for key in keys],
        journal.embeddings(*(np.array([row[name] for row in ordered], np.int64) for name in ("part", "row"))),
    )


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Any:
    before = children()
    yield
    assert children() <= before


def children() -> set[int]:
    """Processes of this one that are there, ended ones that nobody asked for included."""
    own = str(os.getpid())
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "stat").read_text().rpartition(")")[2].split()[1] == own:
                found.add(int(folder.name))
    return found


def test_every_picture_is_embedded_with_unit_rows(tmp_path: Path) -> None:
    found = embedded(pictures(tmp_path, 70), tmp_path)
    assert [len(digests) for digests in found.digests] == [1] * 70
    assert found.embeddings.shape == (70, 4)
    assert found.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)
    ratio = found.embeddings[:, 0] / found.embeddings[:, 3]
    np.testing.assert_allclose(ratio, np.arange(70) / 255, atol=1e-6)
    assert found.effort.n_embedded == 70


def test_a_picture_is_known_by_what_the_embedder_sees_and_its_size(tmp_path: Path) -> None:
    (source,) = pictures(tmp_path, 1)
    found = embedded([source], tmp_path)
    prepared = MeanColour().prepare(read_image(source.file).pixels)
    assert found.digests == [[array_digest(prepared)]]
    assert found.frames == [[None]]
    assert found.sizes == [(8, 6)]
    assert found.endings == [Ending(1, 1)]


def test_a_large_picture_comes_shrunk_and_is_known_by_its_full_size(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480), (9, 99, 199)).save(tmp_path / "a.jpg")
    clip(tmp_path / "b.mkv", "testsrc2=size=160x120:rate=1", 1)
    found = embedded(list_sources([tmp_path]), tmp_path, Sizes(), max_pixels=640 * 480)
    assert found.sizes == [(640, 480), (160, 120)]
    shapes = found.embeddings[:, :2] / found.embeddings[:, 3:]
    np.testing.assert_allclose(shapes, [[60, 80], [30, 40]], rtol=1e-5)


def test_too_many_pixels_are_a_reason(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    found = embedded(list_sources([tmp_path]), tmp_path, max_pixels=64 * 48 - 1)
    assert "above the limit" in found.endings[0].reason
    assert found.embeddings.shape == (0, 4)


def test_a_broken_file_hurts_nothing_else(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 5)
    sources[2].file.write_text("no picture")
    found = embedded(sources, tmp_path)
    assert [len(digests) for digests in found.digests] == [1, 1, 0, 1, 1]
    assert found.endings[2] == Ending(0, 0, "not an image in a known format")
    assert len(found.embeddings) == 4


def test_a_file_that_is_gone_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 2)
    content = sources[1].file.read_bytes()
    sources[1].file.unlink()
    ending = embedded(sources, tmp_path).endings[1]
    assert not ending.readable
    assert "cannot be read" in ending.reason
    sources[1].file.write_bytes(content)
    found = embedded(sources, tmp_path)
    assert found.effort.n_embedded == 1
    assert found.endings == [Ending(1, 1)] * 2


def test_frames_of_a_video_have_indices_and_repetitions_are_counted_and_left_out(tmp_path: Path) -> None:
    clip(tmp_path / "moving.mkv", "testsrc2=size=64x48:rate=2", 10)
    clip(tmp_path / "still.mkv", "color=red:size=64x48:rate=2", 10)
    found = embedded(list_sources([tmp_path]), tmp_path, Gist())
    assert found.frames == [[0, 2, 4, 6, 8], [0]]
    assert found.endings == [Ending(10, 5), Ending(10, 5)]
    assert found.effort.n_embedded == 6


def test_what_the_journal_knows_is_not_embedded_again(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 6)
    first = embedded(sources[:4], tmp_path)
    embedder = Watched()
    second = embedded(sources, tmp_path, embedder)
    assert sum(embedder.seen) == second.effort.n_embedded == 2
    np.testing.assert_array_equal(second.embeddings[:4], first.embeddings)
    third = embedded(sources, tmp_path)
    assert third.effort == Effort()
    np.testing.assert_array_equal(third.embeddings, second.embeddings)


def test_without_sources_there_are_no_rows(tmp_path: Path) -> None:
    found = embedded([], tmp_path, Gist())
    assert found.embeddings.shape == (0, Gist().dim)
    assert found.embeddings.dtype == np.float32
    assert found.effort.bottleneck == ""


@pytest.mark.parametrize(
    ("embedder", "said"), [(Wide(), "float64"), (MeanColour(dim=5), r"\(1?2, 5\)"), (Zero(), r"zero .*000\.png")]
)
def test_a_bad_embedder_is_blamed_by_name(embedder: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match=said) as caught:
        embedded(pictures(tmp_path, 2), tmp_path, embedder)
    assert f"embedder {type(embedder).__name__}" in str(caught.value)


def test_pictures_prepared_to_different_shapes_are_blamed_on_the_embedder(tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match="embedder OwnShape prepares pictures of different shapes"):
        embedded(pictures(tmp_path, 3), tmp_path, OwnShape())


def test_an_embedder_that_cannot_travel_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match=r"embedder Stuck cannot travel .* preparer\(\)"):
        embedded(pictures(tmp_path, 1), tmp_path, Stuck())


def test_an_error_in_a_worker_is_raised_here_with_its_traceback(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 2)
    Image.new("RGB", (8, 7)).save(sources[1].file)
    with pytest.raises(ZeroDivisionError, match="seven rows") as caught:
        embedded(sources, tmp_path, Refusing())
    assert "in prepare" in str(caught.value.__cause__)


def test_after_an_error_no_worker_is_left_while_the_error_is_still_held(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        embedded(pictures(tmp_path, 90), tmp_path, Failing())
    assert children() <= before
    assert caught.value.__traceback__ is not None


def test_two_sources_of_a_run_may_be_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.bmp"):
        Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / name)
    found = embedded(list_sources([tmp_path]), tmp_path)
    assert found.digests[0] == found.digests[1]


def test_lanes_change_nothing_but_how_long_it_takes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    clip(tmp_path / "in" / "clip.mkv", "testsrc2=size=32x24:rate=10", 95)
    sources = pictures(tmp_path / "in", 25)
    (tmp_path / "plain").mkdir()
    (tmp_path / "lanes").mkdir()
    embedder = InLanes()
    plain = embedded(sources, tmp_path / "plain", InTens(), fps=None)
    found = embedded(sources, tmp_path / "lanes", embedder, fps=None)
    assert {name.rpartition("_")[0] for name in embedder.seen} == {"lightpool-embed"}
    assert (found.frames, found.digests, found.endings) == (plain.frames, plain.digests, plain.endings)
    np.testing.assert_array_equal(found.embeddings, plain.embeddings)
    assert found.effort.n_embedded == plain.effort.n_embedded > 50


def test_frames_are_written_down_in_their_order_whichever_lane_was_faster(tmp_path: Path) -> None:
    clip(tmp_path / "clip.mkv", "testsrc2=size=32x24:rate=10", 95)
    embedded(list_sources([tmp_path / "clip.mkv"]), tmp_path, InLanes(), fps=None)
    parts = sorted((tmp_path / "journal").glob("part-*.parquet"))
    frames = [index for part in parts for index in parquet.read_table(part, columns=["frame"])["frame"].to_pylist()]
    assert len(parts) > 3
    assert frames == sorted(frames)


def test_an_embedder_that_fails_in_its_lanes_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        embedded(pictures(tmp_path, 40), tmp_path, FailingInLanes())


def test_lanes_end_where_embeddings_cannot_be_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise PoolError("no space left")

    embedder, before = Beginning(), torch.get_num_threads()
    monkeypatch.setattr(Journal, "add", full)
    with pytest.raises(PoolError, match="no space left"):
        embedded(pictures(tmp_path, 200), tmp_path, embedder)
    until = time.monotonic() + 30
    while any(thread.name.startswith("lightpool-embed") for thread in threading.enumerate()):
        assert time.monotonic() < until
    assert len(embedder.seen) <= 2 * embedder.lanes
    assert torch.get_num_threads() == before


def test_what_takes_longest_is_called_the_bottleneck() -> None:
    assert Effort(decode=2, prepare=1, embed=3, wait=1).bottleneck == "embed"
    assert Effort(decode=2, prepare=1, embed=1, wait=3).bottleneck == "decode"
    assert Effort(decode=1, prepare=2, embed=1, wait=3).bottleneck == "prepare"
    assert Effort().bottleneck == ""


SCRIPT = """
import sys
from dataclasses import dataclass
from pathlib import Path

from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.pipeline import embed_sources
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_plugins.embedders.gist import Gist


@dataclass(frozen=True)
class Mine(Gist):
    pass


if __name__ == "__main__":
    print("once")
    folder = Path(sys.argv[1])
    journal = Journal(folder / "journal", Maker("mine", "", Mine().dim))
    sources = {source.name: source for source in list_sources([folder])}
    print(embed_sources(sources, Mine(), journal, reading=Reading()).n_embedded)
"""


def test_an_embedder_of_the_running_script_does_not_run_the_script_again(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "in").mkdir()
    pictures(tmp_path / "in", 3)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "in"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout.split() == ["once", "3"]


@dataclass
class Advances:
    """Listens to the first stage that is announced."""

    came: list[float] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)

    def stage(self, name: str, total: int | None = None) -> Advances:
        self.stages.append(name)
        return self if len(self.stages) == 1 else Advances(stages=[name])

    def __enter__(self) -> Advances:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, n: float = 1) -> None:
        self.came.append(n)

    def note(self, text: str) -> None:
        return None


def test_a_long_video_advances_as_it_is_decoded(tmp_path: Path) -> None:
    size, n_frames = 512, 50
    noise = np.random.default_rng(0).bytes(3 * size * size * n_frames)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size}x{size}", "-r", "10", "-i", "-"]
    long = tmp_path / "long.mkv"
    made = [ffmpeg_command(), "-loglevel", "error", *raw, "-c:v", "ffv1", "-g", "1", "-pix_fmt", "bgr0", str(long)]
    subprocess.run(made, input=noise, check=True)
    assert long.stat().st_size > 16 << 20
    (tmp_path / "short.mkv").write_bytes(b"none")
    listener = Advances()
    sources = {source.name: source for source in list_sources([tmp_path])}
    journal = Journal(tmp_path / "journal", Maker("mean-1", "", 4))
    embed_sources(sources, InTens(), journal, reading=Reading(), progress=listener)
    assert listener.stages == ["decoding", "embedding"]
    assert sum(listener.came) == pytest.approx(2)
    assert sum(0 < n < 0.5 for n in listener.came) > 2


@pytest.mark.parametrize(("n", "log"), [(8, [8]), (200, [0, *[10] * 20])])
def test_an_embedder_gets_ready_once_before_batches_that_may_be_full(
    tmp_path: Path, n: int, log: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "n_cores", lambda: 2)
    for number in range(n):
        Image.new("RGB", (8, 8), (number, 1, 1)).save(tmp_path / f"{number:03}.png")
    sources = {source.name: source for source in list_sources([tmp_path])}
    embedder, listener = GetsReady(), Advances()
    embed_sources(
        sources, embedder, Journal(tmp_path / "journal", Maker("mean-1", "", 4)), reading=Reading(), progress=listener
    )
    assert embedder.log == log
    assert ("getting ready" in listener.stages) == (n > 8)


def test_an_embedder_that_is_ready_has_no_stage_for_it(tmp_path: Path) -> None:
    (tmp_path / "short.mkv").write_bytes(b"none")
    sources = {source.name: source for source in list_sources([tmp_path])}
    journal, listener = Journal(tmp_path / "journal", Maker("mean-1", "", 4)), Advances()
    embed_sources(sources, IsReady(), journal, reading=Reading(), progress=listener)
    assert listener.stages == ["decoding", "embedding"]
