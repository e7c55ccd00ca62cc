"""How the commands read files from outside, and what has to hold of what they read.

Each raises a LightpoolError for a bad file, and an AssertionError where a value is none.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.files import AnnotationFiles, annotated
from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.embedding.journal import Journal, keys_in
from lightpool_core.embeddings_file import read_embeddings
from lightpool_core.media.image import read_image
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.source import SampleRef, frame_name, kind_of, ref_of, video_of
from lightpool_core.settings import Overrides, Settings
from tests.fuzz.seeds import KEYS, MAKER, NAMES

REFS = [ref_of(name) for name in NAMES]
MAX_PIXELS = 4_000_000


def embeddings(path: Path) -> None:
    """An embeddings file, written back and read again."""
    file = read_embeddings(path)
    n = len(file.filenames)
    assert len(file.embeddings) == len(file.labels) == len(file.selected) == n
    assert all(len(column) == n for column in file.metadata.values())
    assert np.allclose(np.linalg.norm(file.embeddings, axis=1), 1, atol=1e-5)
    Asked.of([ref_of(name) for name in file.filenames])
    if file.all_rows:
        written = path.with_name("written.csv")
        file.all_rows.write_csv(written)
        again = read_embeddings(written)
        assert again.filenames == file.filenames
        assert np.array_equal(again.embeddings, file.embeddings)
        assert np.array_equal(again.labels, file.labels)
        assert np.array_equal(again.selected, file.selected)


def metadata(path: Path) -> None:
    """A table, or a folder of Lightly metadata."""
    _annotated(AnnotationFiles.open(path, None, None))


def scores(path: Path) -> None:
    """A table of scores."""
    _annotated(AnnotationFiles.open(None, None, path))


def predictions(path: Path) -> None:
    """A Lightly folder, a COCO file or a YOLO folder."""
    _annotated(AnnotationFiles.open(None, path, None))


def settings(pool: Path) -> None:
    """`datapool.toml`, written and read again."""
    read = Settings.read(pool)
    read.write(pool)
    assert repr(Settings.read(pool)) == repr(read)


def config(path: Path) -> None:
    """A selection config, through the settings that it becomes."""
    wanted = Overrides(config=path).over(Settings())
    wanted.write(path.parent)
    assert repr(Settings.read(path.parent).stop) == repr(wanted.stop)


def filenames(folder: Path) -> None:
    """A list of file names."""
    found = list_sources([folder / "input"], folder / "list.txt")
    assert {source.name for source in found} <= {"a.jpg", "sub/b.png", "v.mp4"}


def name(path: Path) -> None:
    """The name of a sample; of a frame of a video as it is made, its video."""
    text = path.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "")
    ref_of(text)
    if text == Path(text).as_posix() and kind_of(Path(text)) == "video":
        frame = frame_name(text, 3, 200)
        assert ref_of(frame) == SampleRef(frame, text, 3)
        assert video_of(frame) == text


def image(path: Path) -> None:
    """A picture."""
    frame = read_image(path, short_side=8, max_pixels=MAX_PIXELS)
    height, width, channels = frame.pixels.shape
    assert channels == 3
    assert 0 < height * width <= frame.width * frame.height <= MAX_PIXELS


def checkpoint(path: Path) -> None:
    """A checkpoint, written and read again."""
    read = Checkpoint.read(path)
    assert isinstance(read.embedder, str)
    assert isinstance(read.fingerprint, str)
    assert isinstance(read.dim, int)
    assert all(isinstance(key, str) for key in (*read.options.keys(), *read.weights.keys()))
    again = path.with_name("written.ckpt")
    read.write(again)
    assert repr(Checkpoint.read(again)) == repr(read)


def journal(folder: Path) -> None:
    """A journal, gone on with, and what it holds gathered in another."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        read = Journal(Path(place) / "own", MAKER, [folder])
        pictures = read.entries(KEYS).pictures
        vectors = read.embeddings(pictures["part"].to_numpy(), pictures["row"].to_numpy())
        assert vectors.shape == (pictures.num_rows, MAKER.dim)
        read.keep(Path(place) / "kept", keys_in(folder, MAKER))
        assert keys_in(Path(place) / "kept") <= keys_in(folder)


def _annotated(files: AnnotationFiles) -> None:
    from lightpool_core.annotations import Annotations

    found = annotated(REFS, Annotations(), files, required=False)
    assert all(len(column) == len(REFS) for column in (*found.metadata.values(), *found.scores.values()))
    for task in found.predictions.values():
        assert task.counts.shape == task.shares.shape == (len(REFS), len(task.categories))
