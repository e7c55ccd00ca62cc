from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.runs import Run
from tests import touchy
from tests.touchy import BATCH, film, image, noted, scene

TOUCHY = f"{touchy.__file__}:Touchy"
PATIENCE = 120
"""Seconds after which a command that does not get on fails its test."""


def fill(folder: Path, n_images: int, n_frames: int, first: int = 0) -> Path:
    """Images and a video, all of whose pictures differ."""
    for seed in range(first, first + n_images):
        image(folder / f"{seed:03}.png", scene(seed))
    film(folder / f"{first:03}.mkv", [scene(10_000 + first + seed) for seed in range(n_frames)])
    return folder


def arguments(pool: Path, inbox: Path, log: Path, *more: object, fps: object = "all", **options: object) -> list[str]:
    """An append that keeps many and not all."""
    log.mkdir(exist_ok=True)
    given = {"log": log, "delay": 0, "stop_after": 0, **options}
    embedder = ["--embedder", TOUCHY, *(part for name in given for part in ("-e", f"{name}={given[name]}"))]
    conditions = ["--fps", fps, "--min-distance", 0.55]
    return list(map(str, ["append", "--pool", pool, "--input", inbox, *embedder, *conditions, *more]))


def started(*append: str) -> subprocess.Popen[str]:
    """The console script as a process of its own."""
    program = Path(sys.executable).with_name("lightpool")
    return subprocess.Popen([program, *append], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"ended before it was stopped: {process.communicate()[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def embedded_again(log: Path) -> int:
    return sum(n - 1 for n in Counter(noted(log)).values())


def csv(pool: Path) -> bytes:
    return (pool / "datapool_latest.csv").read_bytes()


def run_folders(pool: Path) -> list[list[str]]:
    """What is in the folder of each run, oldest first."""
    return [sorted(part.name for part in folder.iterdir()) for folder in sorted((pool / "runs").iterdir())]


COMPLETE = ["decisions.parquet", "filenames", "report.json"]


def known(pool: Path) -> pa.Table:
    """Names, sizes and metadata of the samples."""
    return Datapool.open(pool).columns("filename", "width", "height", "metadata", "distance")


@pytest.mark.parametrize(
    ("more", "n_kills"), [((), 3), (("--compute-metadata",), 1)], ids=["thrice", "once, and measured"]
)
def test_a_run_killed_at_work_ends_as_if_nothing_had_been(more, n_kills, lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 60, 20), tmp_path / "pool", tmp_path / "log"
    lightpool(*arguments(tmp_path / "whole", inbox, tmp_path / "whole log", *more))
    dice = random.Random(7)
    for _ in range(n_kills):
        goal = len(noted(log)) + dice.randrange(1, 2 * BATCH)
        with started(*arguments(pool, inbox, log, *more, delay=0.1)) as process:  # to be met at work
            wait_until(lambda goal=goal: len(noted(log)) >= goal, process)
            time.sleep(dice.uniform(0, 0.15))
            process.kill()
        assert process.returncode == -signal.SIGKILL
    report = lightpool(*arguments(pool, inbox, log, *more), "--json").json
    assert csv(pool) == csv(tmp_path / "whole")
    assert known(pool).equals(known(tmp_path / "whole"))
    assert all(("lightly.sharpness" in text) == bool(more) for text in known(pool)["metadata"].to_pylist())
    assert len(csv(pool).splitlines()) > 20
    assert 0 < report["samples"]["selected"] < report["samples"]["candidates"] == 80
    assert len(set(noted(log))) == 80
    assert embedded_again(log) <= n_kills * BATCH
    assert report["pace"]["known"] > 0
    assert run_folders(pool) == [COMPLETE]


def test_ctrl_c_keeps_what_was_embedded(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 30, 10), tmp_path / "pool", tmp_path / "log"
    with started(*arguments(pool, inbox, log, delay=0.2)) as process:
        wait_until(lambda: len(noted(log)) >= 3 * BATCH, process)
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("lightpool: stopped")
    assert run_folders(pool) == [["journal"]]
    lightpool(*arguments(pool, inbox, log))
    assert len(set(noted(log))) == 40
    assert embedded_again(log) <= BATCH
    assert run_folders(pool) == [COMPLETE]


def stop(lightpool, pool: Path, inbox: Path, log: Path, *more: object, after: int) -> int:
    """A run that ends like Ctrl-C when so many pictures were embedded, or a few more. How many."""
    done = lightpool.attempt(*arguments(pool, inbox, log, *more, stop_after=after))
    assert done.code == 130, done.err
    return len(noted(log))


def test_another_input_in_between_loses_nothing(lightpool, tmp_path):
    one, other = fill(tmp_path / "one", 20, 10), fill(tmp_path / "other", 12, 6, first=100)
    pool, whole, log = tmp_path / "pool", tmp_path / "whole", tmp_path / "log"
    stop(lightpool, pool, one, log, after=4 * BATCH)
    assert run_folders(pool) == [["journal"]]
    lightpool(*arguments(pool, other, log))
    assert run_folders(pool) == [["journal"], COMPLETE]
    lightpool(*arguments(pool, one, log))
    assert run_folders(pool) == [COMPLETE, COMPLETE]
    assert embedded_again(log) == 0
    for inbox in (other, one):
        lightpool(*arguments(whole, inbox, tmp_path / "whole log"))
    assert csv(pool) == csv(whole)


def test_new_files_and_files_that_are_gone_are_taken_as_they_are(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 20, 10), tmp_path / "pool", tmp_path / "log"
    stop(lightpool, pool, inbox, log, after=6 * BATCH)
    for seed in (0, 1, 2):
        (inbox / f"{seed:03}.png").unlink()
    fill(inbox, 5, 3, first=100)
    lightpool(*arguments(pool, inbox, log))
    assert embedded_again(log) <= BATCH
    lightpool(*arguments(tmp_path / "whole", inbox, tmp_path / "whole log"))
    assert csv(pool) == csv(tmp_path / "whole")


def test_a_dry_run_goes_on_with_what_was_embedded_and_neither_it_nor_a_select_takes_it_away(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 20, 10), tmp_path / "pool", tmp_path / "log"
    n_embedded = stop(lightpool, pool, inbox, log, after=4 * BATCH)
    report = lightpool(*arguments(pool, inbox, log), "--dry-run", "--json").json
    assert report["pace"]["known"] == n_embedded
    assert embedded_again(log) == 0
    picked = lightpool("select", "--pool", pool, "--input", inbox, "-e", "stop_after=0", "--json").json
    assert len(picked["selected"]) == report["samples"]["selected"]
    assert embedded_again(log) == 30  # without the pool's lock, nothing is read that may go away
    assert run_folders(pool) == [["journal"]]


def test_another_rate_is_not_confused_with_what_was_embedded(lightpool, tmp_path):
    pool, log = tmp_path / "pool", tmp_path / "log"
    inbox = film(tmp_path / "in" / "film.mkv", [scene(seed) for seed in range(20)]).parent
    stop(lightpool, pool, inbox, log, after=3 * BATCH)
    lightpool(*arguments(pool, inbox, log, fps=5))
    lightpool(*arguments(tmp_path / "whole", inbox, tmp_path / "whole log", "--fps", 5))
    assert csv(pool) == csv(tmp_path / "whole")
    assert len(noted(tmp_path / "whole log")) == 10


def test_what_another_embedder_wrote_down_is_not_taken(lightpool, tmp_path):
    inbox, log = fill(tmp_path / "in", 12, 6), tmp_path / "log"
    n_embedded = stop(lightpool, tmp_path / "one", inbox, log, after=2 * BATCH)
    lightpool("init", "--pool", tmp_path / "two", "--embedder", TOUCHY, "-e", "fingerprint=touchy-2")
    shutil.copytree(tmp_path / "one" / "runs", tmp_path / "two" / "runs", dirs_exist_ok=True)
    report = lightpool(*arguments(tmp_path / "two", inbox, log), "--json").json
    assert report["pace"]["known"] == 0
    assert embedded_again(log) == n_embedded
    assert report["samples"]["candidates"] == 18


def test_a_journal_that_a_failing_disk_damaged_costs_no_more_than_its_embeddings(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 12, 6), tmp_path / "pool", tmp_path / "log"
    n_embedded = stop(lightpool, pool, inbox, log, after=3 * BATCH)
    part = sorted(pool.glob("runs/*/journal/part-*.parquet"))[1]
    part.write_bytes(part.read_bytes()[:300])
    lightpool(*arguments(pool, inbox, log))
    assert 0 < embedded_again(log) <= n_embedded
    assert run_folders(pool) == [COMPLETE]
    lightpool(*arguments(tmp_path / "whole", inbox, tmp_path / "whole log"))
    assert csv(pool) == csv(tmp_path / "whole")


# Embeddings that are kept


def test_kept_embeddings_spare_every_later_run_the_decoding(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 20, 10), tmp_path / "pool", tmp_path / "log"
    first = lightpool(*arguments(pool, inbox, log, "--keep-embeddings"), "--json").json
    assert sorted(run_folders(pool)[0]) == ["decisions.parquet", "embeddings", "filenames", "report.json"]
    before = noted(log, "prepared"), noted(log)
    again = lightpool(*arguments(pool, inbox, log, "--process-all", "--min-distance", 0), "--json").json
    assert (again["pace"]["known"], again["samples"]["decoded"], again["pool_size"]) == (30, 30, 30)
    assert first["pool_size"] < 30
    picked = lightpool("select", "--pool", pool, "--input", inbox, "--json").json
    assert picked["selected"] == []  # all are in the pool by now
    lightpool("history", "restore", "0", "--pool", pool)
    picked = lightpool("select", "--pool", pool, "--input", inbox, "--min-distance", 0.55, "--json").json
    assert len(picked["selected"]) == first["samples"]["selected"]
    assert (noted(log, "prepared"), noted(log)) == before


def test_of_new_files_only_their_own_embeddings_are_kept_in_addition(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 8, 4), tmp_path / "pool", tmp_path / "log"
    lightpool(*arguments(pool, inbox, log, "--keep-embeddings"))
    fill(inbox, 5, 3, first=100)
    lightpool(*arguments(pool, inbox, log, "--process-all", "--keep-embeddings"))
    lightpool(*arguments(pool, inbox, log, "--process-all", "--keep-embeddings"))
    runs = sorted((pool / "runs").iterdir())
    kept = [len(list(Run(folder).embeddings.glob("part-*"))) for folder in runs]
    assert kept == [1, 1, 0]
    assert embedded_again(log) == 0


def test_a_run_that_keeps_its_embeddings_can_be_cut_off_as_well(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 12, 6), tmp_path / "pool", tmp_path / "log"
    stop(lightpool, pool, inbox, log, "--keep-embeddings", after=3 * BATCH)
    lightpool(*arguments(pool, inbox, log, "--keep-embeddings"))
    assert run_folders(pool) == [["decisions.parquet", "embeddings", "filenames", "report.json"]]
    lightpool(*arguments(pool, inbox, log, "--process-all"))
    assert embedded_again(log) == 0


def test_a_file_that_was_refused_is_kept_once_it_is_not(lightpool, tmp_path):
    inbox, pool, log = fill(tmp_path / "in", 4, 2), tmp_path / "pool", tmp_path / "log"
    kept = ("--process-all", "--keep-embeddings", "--json")
    refused = lightpool(*arguments(pool, inbox, log, *kept, "--max-megapixels", 0.0003)).json
    assert len(refused["corrupt"]) == 5
    for _ in range(2):
        assert lightpool(*arguments(pool, inbox, log, *kept, "--max-megapixels", 1)).json["corrupt"] == []
    assert len(set(noted(log))) == 6
    assert embedded_again(log) == 0
