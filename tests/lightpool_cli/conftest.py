"""What the tests of the command line share: a runner, and makers of images, videos and pools."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightpool_core.media.ffmpeg import ffmpeg_command

PATTERNS = {
    "bars": "smptebars=size=64x48:rate=10:duration=3",
    "fractal": "mandelbrot=size=64x48:rate=10:end_pts=20",
    "game": "life=size=64x48:rate=10:ratio=0.3:seed=7:mold=10",
    "sweep": "gradients=size=64x48:rate=10:duration=3:speed=0.2:n=2:c0=red:c1=blue:x0=4:y0=2:x1=60:y1=40",
    "test": "testsrc2=size=64x48:rate=10:duration=3",
}


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Lightpool:
    """Runs commands in this process, through the entry point that the console script calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def attempt(self, *arguments: object) -> Done:
        """Run; any exit status."""
        from lightpool_cli.app import main

        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["lightpool", *map(str, arguments)])
        # As in a console script, which belongs to no package: what usage lines call the program depends on it.
        self._monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
        with pytest.raises(SystemExit) as exit_:
            main()
        shown = self._capsys.readouterr()
        code = exit_.value.code
        return Done(code if isinstance(code, int) else int(code is not None), shown.out, shown.err)

    def __call__(self, *arguments: object) -> Done:
        """Run; has to succeed."""
        done = self.attempt(*arguments)
        assert done.code == 0, done.err
        return done

    def append(self, pool: Path, *arguments: object) -> dict[str, Any]:
        """Append with the embedder `gist` where that is still open; the report."""
        made = (pool / "datapool.toml").exists()
        report = self("append", "--pool", pool, *arguments, *([] if made else ["--embedder", "gist"]), "--json").json
        assert isinstance(report, dict)
        return report

    def fails(self, *arguments: object, code: int = 1) -> str:
        """Run; has to fail with one line on stderr and nothing on stdout. The line."""
        done = self.attempt(*arguments)
        assert (done.code, done.out) == (code, "")
        assert done.err.startswith("lightpool: ")
        assert done.err.count("\n") == 1, done.err
        assert done.err.endswith("\n")
        return done.err


@pytest.fixture
def lightpool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Lightpool:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.delenv("LIGHTPOOL_POOL", raising=False)
    return Lightpool(monkeypatch, capsys)


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    """Writes a picture of coloured patches; another seed is another scene."""

    def drawn(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> Path:
        patches = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(patches).resize(size, Image.Resampling.NEAREST).save(path)
        return path

    return drawn


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five short videos by name, of 30 frames at 10 frames per second."""
    folder = tmp_path_factory.mktemp("videos")
    made = {}
    for name, pattern in PATTERNS.items():
        made[name] = folder / f"{name}.mp4"
        quiet = [ffmpeg_command(), "-nostdin", "-y", "-loglevel", "error"]
        coded = ["-frames:v", "30", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
        subprocess.run([*quiet, "-f", "lavfi", "-i", pattern, *coded, made[name]], check=True, capture_output=True)
    return made


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory, videos: dict[str, Path], draw: Callable[..., Path]) -> Path:
    """A folder with `in` (two videos and six images in two folders) and `pool`, grown in two versions. Copy it."""
    from lightpool_core import Overrides, append

    folder = tmp_path_factory.mktemp("grown")
    for seed in range(4):
        draw(folder / "in" / "first" / f"{seed}.png", seed)
    shutil.copy2(videos["test"], folder / "in")
    settings = Overrides(inputs=(folder / "in",), embedder="gist", min_distance=0.1)
    append(folder / "pool", settings)
    for seed in (4, 5):
        draw(folder / "in" / "second" / f"{seed}.png", seed)
    shutil.copy2(videos["fractal"], folder / "in")
    append(folder / "pool", None)
    return folder


@pytest.fixture
def pool(grown: Path, tmp_path: Path) -> Path:
    """A pool of two versions that a test may change; its inputs are the shared ones."""
    return Path(shutil.copytree(grown / "pool", tmp_path / "pool"))


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    """Digests of everything in a folder."""

    def digests(folder: Path) -> dict[str, str]:
        if not folder.exists():
            return {}
        if folder.is_file():
            return {"": hashlib.sha256(folder.read_bytes()).hexdigest()}
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(folder.rglob("*"))
        }

    return digests


@pytest.fixture(scope="session")
def csv_of() -> Callable[[Path], tuple[list[str], np.ndarray, list[int]]]:
    """Names, embeddings and labels in a pool's `datapool_latest.csv`, read with nothing but the standard library."""
    import csv

    def read(pool: Path) -> tuple[list[str], np.ndarray, list[int]]:
        with (pool / "datapool_latest.csv").open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
        assert header[0] == "filenames"
        assert header[-1] == "labels"
        vectors = np.array([[float(x) for x in row[1:-1]] for row in rows], dtype=np.float32)
        return [row[0] for row in rows], vectors.reshape(len(rows), len(header) - 2), [int(row[-1]) for row in rows]

    return read


@pytest.fixture(scope="session")
def subprocess_run() -> Callable[..., Done]:
    """Runs the console script as a process of its own."""

    def run(*arguments: object, code: str | None = None, cwd: Path | None = None, **environment: str) -> Done:
        program = [sys.executable, *(["-c", code] if code else ["-m", "lightpool_cli.app"])]
        if code is None:
            program = [str(Path(sys.executable).with_name("lightpool"))]
        done = subprocess.run(
            [*program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            check=False,
            env={**os.environ, "COLUMNS": "80", "TERMINAL_WIDTH": "80", **environment},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
