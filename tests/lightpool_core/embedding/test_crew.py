from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Array, array_digest
from lightpool_core.embedding.crew import Batch, Crew
from lightpool_core.embedding.pictures import Ending, Reached, Task, tasks_of
from lightpool_core.embedding.slabs import Layout
from lightpool_core.embedding.worker import Setup
from lightpool_core.errors import SourceError
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import Source
from tests.processes import end_within, in_group
from tests.touchy import (
    BATCH,
    CRASH,
    EXIT,
    HANG,
    KILL,
    RAISE,
    RAISE_SYSTEM,
    Colour,
    Touched,
    Touchy,
    film,
    image,
    plain,
    scene,
)

TIMEOUT = 3.0
"""Seconds; far more than anything here takes that does not hang."""
FATES: dict[str, tuple[Colour, str, bool]] = {
    "hang": (HANG, "nothing came of it for 3 seconds (setting timeout)", True),
    "crash": (CRASH, f"it made its decoder crash (signal {signal.SIGSEGV:d})", True),
    "exit": (EXIT, "it made its decoder crash (exit code 3)", True),
    "kill": (KILL, "its decoder was killed (out of memory?); the next run tries it again", False),
}
"""What a picture does to its worker, the reason that is given for it, and whether the picture is to blame."""


@dataclass
class Haul:
    """What came out of a crew."""

    pictures: dict[str, list[int | None]] = field(default_factory=dict)
    """Indices of the frames of each source, in the order in which they came."""
    prepared: dict[str, list[Array]] = field(default_factory=dict)
    endings: dict[str, Ending] = field(default_factory=dict)

    def take(self, batch: Batch) -> None:
        for (source, picture), prepared in zip(batch.pictures, batch.prepared, strict=True):
            self.pictures.setdefault(source.name, []).append(picture.index)
            self.prepared.setdefault(source.name, []).append(prepared.copy())
        for source, ending in batch.endings:
            assert source.name not in self.endings
            self.endings[source.name] = ending


def crew_of(sources: Sequence[Source], *, n_workers: int = 2, batch: int = BATCH, tasks: Any = None) -> Crew:
    layout = Layout(2, batch, (4, 4, 3), "|u1")
    setup = Setup(pickle.dumps(Touchy()), "Touchy", {}, Reading(), layout)
    return Crew(tasks or tasks_of(sources, batch, {}), setup, n_workers=n_workers, timeout=TIMEOUT)


def hauled(sources: Sequence[Source], **how: Any) -> Haul:
    haul = Haul()
    with crew_of(sources, **how) as crew:
        for batch in crew:
            haul.take(batch)
            crew.release(batch)
    return haul


def scenes(folder: Path, n: int, first: int = 0) -> list[Path]:
    return [image(folder / f"{seed:03}.png", scene(seed)) for seed in range(first, first + n)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that is started, to see afterwards what became of it."""
    processes: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return processes


def assert_nothing_is_left(started: list[subprocess.Popen[bytes]]) -> None:
    assert started
    assert all(process.returncode is not None for process in started)
    assert end_within(5, [process.pid for process in started])  # an ffmpeg is reaped by others
    assert not [thread for thread in threading.enumerate() if thread.name == "lightpool-crew"]


def test_every_picture_comes_once_as_it_was_prepared(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    scenes(tmp_path, 10)
    film(tmp_path / "film.mkv", [scene(seed) for seed in range(50, 60)])
    started.clear()
    haul = hauled(list_sources([tmp_path]))
    assert haul.pictures.pop("film.mkv") == list(range(10))
    assert haul.endings.pop("film.mkv") == Ending(10, 10)
    assert haul.pictures == {f"{seed:03}.png": [None] for seed in range(10)}
    assert haul.endings == {f"{seed:03}.png": Ending(1, 1) for seed in range(10)}
    for seed in range(10):
        np.testing.assert_array_equal(haul.prepared[f"{seed:03}.png"][0], Touchy().prepare(scene(seed)))
        np.testing.assert_array_equal(haul.prepared["film.mkv"][seed], Touchy().prepare(scene(50 + seed)))
    assert_nothing_is_left(started)


def test_frames_that_repeat_the_one_before_are_counted_and_do_not_come(tmp_path: Path) -> None:
    film(tmp_path / "film.mkv", [scene(seed) for seed in (1, 1, 2, 2, 2, 1, 3)])
    haul = hauled(list_sources([tmp_path]))
    assert haul.pictures == {"film.mkv": [0, 2, 5, 6]}
    assert haul.endings == {"film.mkv": Ending(7, 7)}


def test_a_video_that_was_embedded_in_part_goes_on_behind_it(tmp_path: Path) -> None:
    film(tmp_path / "film.mkv", [scene(seed) for seed in (1, 2, 3, 3, 4)])
    (source,) = list_sources([tmp_path])
    after = Reached(2, array_digest(Touchy().prepare(scene(3))), n=3)
    haul = hauled([source], tasks=[Task((source,), after)])
    assert haul.pictures == {"film.mkv": [4]}
    assert haul.endings == {"film.mkv": Ending(5, 5)}


@pytest.mark.parametrize("fate", FATES)
def test_an_image_that_hangs_or_ends_its_worker_costs_only_itself(
    fate: str, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    colour, reason, readable = FATES[fate]
    scenes(tmp_path, 6)
    image(tmp_path / "002-bad.png", plain(colour))
    haul = hauled(list_sources([tmp_path]))
    assert haul.endings.pop("002-bad.png") == Ending(0, 0, reason, readable)
    assert haul.endings == {f"{seed:03}.png": Ending(1, 1) for seed in range(6)}
    assert sorted(haul.pictures) == sorted(haul.endings)
    assert_nothing_is_left(started)


def test_several_of_them_in_one_batch_cost_only_themselves(tmp_path: Path) -> None:
    for number, colour in enumerate((KILL, CRASH, HANG, EXIT, CRASH)):
        scenes(tmp_path, 1, first=number)
        image(tmp_path / f"{number:03}-bad.png", plain(colour))
    scenes(tmp_path, 1, first=5)
    haul = hauled(list_sources([tmp_path]), batch=16)
    bad = [haul.endings.pop(f"{number:03}-bad.png").reason for number in range(5)]
    assert bad == [FATES[fate][1] for fate in ("kill", "crash", "hang", "exit", "crash")]
    assert haul.endings == {f"{seed:03}.png": Ending(1, 1) for seed in range(6)}
    assert sorted(haul.pictures) == sorted(haul.endings)


@pytest.mark.parametrize("fate", ["hang", "kill"])
def test_a_video_keeps_the_batches_that_came_before_its_bad_frame(
    fate: str, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    colour, reason, readable = FATES[fate]
    frames = [scene(seed) for seed in range(12)]
    frames[9] = plain(colour)
    film(tmp_path / "bad.mkv", frames)
    film(tmp_path / "good.mkv", [scene(seed) for seed in range(20, 30)])
    scenes(tmp_path, 2)
    started.clear()
    haul = hauled(list_sources([tmp_path]))
    assert haul.pictures["bad.mkv"] == list(range(8))
    assert haul.endings["bad.mkv"] == Ending(8, 8, reason, readable)
    assert haul.pictures["good.mkv"] == list(range(10))
    assert [haul.endings[name] for name in ("good.mkv", "000.png", "001.png")] == [Ending(10, 10)] + [Ending(1, 1)] * 2
    assert_nothing_is_left(started)


def test_a_video_that_dies_again_still_counts_what_came_before(tmp_path: Path) -> None:
    frames = [scene(seed) for seed in range(12)]
    frames[9] = plain(CRASH)
    film(tmp_path / "bad.mkv", frames)
    (source,) = list_sources([tmp_path])
    after = Reached(7, array_digest(Touchy().prepare(frames[7])), n=8)
    haul = hauled([source], tasks=[Task((source,), after)])
    assert haul.pictures == {}
    assert haul.endings == {"bad.mkv": Ending(8, 8, FATES["crash"][1])}


def test_what_the_embedder_raises_arrives_with_the_traceback_of_the_worker(
    tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    scenes(tmp_path, 6)
    image(tmp_path / "002-bad.png", plain(RAISE))
    with pytest.raises(Touched, match="magenta") as caught:
        hauled(list_sources([tmp_path]))
    assert "in _react" in str(caught.value.__cause__)
    assert "in prepare" in str(caught.value.__cause__)
    assert_nothing_is_left(started)


def test_a_file_that_the_embedder_misses_is_no_fault_of_the_picture(tmp_path: Path) -> None:
    image(tmp_path / "bad.png", plain(RAISE_SYSTEM))
    with pytest.raises(FileNotFoundError, match=r"cyan\.json") as caught:
        hauled(list_sources([tmp_path]))
    assert "in prepare" in str(caught.value.__cause__)


def test_leaving_early_leaves_nothing_behind(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    scenes(tmp_path, 30)
    image(tmp_path / "000-bad.png", plain(HANG))
    film(tmp_path / "film.mkv", [scene(seed) for seed in range(100)])
    started.clear()
    with crew_of(list_sources([tmp_path])) as crew:
        assert next(iter(crew)).pictures
    assert_nothing_is_left(started)


def test_leaving_at_once_leaves_nothing_behind(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    scenes(tmp_path, 10)
    with crew_of(list_sources([tmp_path])):
        pass
    assert all(process.returncode is not None for process in started)
    assert end_within(5, [process.pid for process in started])


def test_a_batch_is_valid_until_it_is_released_and_its_worker_may_wait_for_that(tmp_path: Path) -> None:
    film(tmp_path / "film.mkv", [scene(seed) for seed in range(20)])
    haul = Haul()
    with crew_of(list_sources([tmp_path]), n_workers=1) as crew:
        batches = iter(crew)
        held = [next(batches), next(batches)]
        copies = [batch.prepared.copy() for batch in held]
        time.sleep(TIMEOUT + 1)  # standing still for our sake is no hanging
        for batch, copy in zip(held, copies, strict=True):
            np.testing.assert_array_equal(batch.prepared, copy)
            haul.take(batch)
            crew.release(batch)
        for batch in batches:
            haul.take(batch)
            crew.release(batch)
    assert haul.pictures == {"film.mkv": list(range(20))}
    assert haul.endings == {"film.mkv": Ending(20, 20)}
    for seed in range(20):
        np.testing.assert_array_equal(haul.prepared["film.mkv"][seed], Touchy().prepare(scene(seed)))


def test_batches_of_a_worker_that_died_can_still_be_read(tmp_path: Path) -> None:
    film(tmp_path / "bad.mkv", [*map(scene, range(BATCH)), scene(40), plain(CRASH)])
    with crew_of(list_sources([tmp_path])) as crew:
        batches = list(crew)
        for batch in batches:
            crew.release(batch)
        prepared = [picture for batch in batches for picture in batch.prepared]
    np.testing.assert_array_equal(prepared, [Touchy().prepare(scene(seed)) for seed in range(BATCH)])


def test_workers_that_cannot_be_started_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes(tmp_path, 10)
    program = shutil.which("false")
    assert program
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(SourceError, match=r"cannot be started: .*exit code 1"):
        hauled(list_sources([tmp_path]))


ORPHANED = """
import json, subprocess, sys, time
from pathlib import Path
from lightpool_core.media.inputs import list_sources
from tests.lightpool_core.embedding.test_crew import crew_of

if __name__ == "__main__":
    pids = []
    popen = subprocess.Popen
    subprocess.Popen = lambda *args, **kwargs: pids.append(popen(*args, **kwargs)) or pids[-1]
    with crew_of(list_sources([Path(sys.argv[1])])) as crew:
        for batch in crew:  # never released: the video's worker waits for that, the other hangs
            print(json.dumps([process.pid for process in pids]), flush=True)
"""


def test_workers_end_with_their_parent_however_that_ended(tmp_path: Path) -> None:
    image(tmp_path / "in" / "bad.png", plain(HANG))
    film(tmp_path / "in" / "film.mkv", [scene(seed) for seed in range(100)])
    script = tmp_path / "orphaned.py"
    script.write_text(ORPHANED)
    command = [sys.executable, str(script), str(tmp_path / "in")]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(root)}) as parent:
        assert parent.stdout
        parent.stdout.readline()
        workers = json.loads(parent.stdout.readline())
        assert len(workers) == 2
        assert all(map(in_group, workers))
        parent.kill()
    assert end_within(5, workers)
