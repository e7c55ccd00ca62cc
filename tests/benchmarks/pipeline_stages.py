"""What takes turns in `pipeline.py`: the bare stages of the pipeline, the whole of it, and loops as others write them.

    python tests/benchmarks/pipeline_stages.py WHAT EMBEDDER FOLDER COUNTS NUMBER

is one of the processes, which goes through the pictures in FOLDER again and again. Of a stage there is one per core.
B: pictures in a batch.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pipeline_peers import PEERS
from turns import Count

from lightpool_core.embedding.embedder import batch_size_of, precision_of, preparer_of
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.pipeline import embed_sources
from lightpool_core.media.image import read_image
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.registry import make
from lightpool_core.settings import PluginChoice

STAGES = ("decode", "prepare", "embed")
_MOST = 200_000
"""Pictures of a run, so many that it does not come to its end."""


def main(what: str, choice: str, folder: str, file: str, number: str) -> None:
    """One process."""
    name, options = json.loads(choice)
    embedder = make("embedder", PluginChoice(name, options))
    count = Count(file, int(number))
    files = [source.file for source in list_sources([Path(folder)])]
    if what == "lightpool":
        _lightpool(embedder, files, count, Path(f"{file}.journal"))
        return
    if what in _ALONE:
        import torch

        torch.set_num_threads(1)  # a process per core
    for done in (_ALONE | PEERS)[what](embedder, files):
        count.add(done)


def _decode(embedder: Any, files: list[Path]) -> Iterator[int]:
    return _each(files, lambda file: read_image(file, short_side=embedder.input_size))


def _decode_whole(_: Any, files: list[Path]) -> Iterator[int]:
    return _each(files, read_image)


def _prepare(embedder: Any, files: list[Path]) -> Iterator[int]:
    pictures = [read_image(file, short_side=embedder.input_size).pixels for file in files]
    return _each(pictures, preparer_of(embedder).prepare)


def _embed(embedder: Any, files: list[Path]) -> Iterator[int]:
    """A batch in each process, on one thread."""
    import torch

    size = batch_size_of(embedder)
    prepare = preparer_of(embedder).prepare
    batch = np.stack([prepare(read_image(file, short_side=embedder.input_size).pixels) for file in files[:size]])
    assert embedder.fingerprint  # the model is loaded
    tower = getattr(embedder, "_tower", None)
    if tower is None:
        return _each([batch], embedder.embed, len(batch))
    # The network alone, on inputs that are normalised already.
    inputs = torch.rand(len(batch), 3, *batch.shape[1:3]).to(tower.dtype).to(memory_format=torch.channels_last)
    return _each([inputs], torch.inference_mode()(tower.modules[0]), len(batch))


def _each(things: list[Any], do: Callable[[Any], Any], count: int = 1) -> Iterator[int]:
    do(things[0])
    yield 0
    for thing in itertools.cycle(things):
        do(thing)
        yield count


_ALONE = {"decode": _decode, "decode whole": _decode_whole, "prepare": _prepare, "embed": _embed}


def _lightpool(embedder: Any, files: list[Path], count: Count, folder: Path) -> None:
    """The whole pipeline: what it has embedded and written down counts."""
    found = list_sources(files)
    assert len(found) == len(files)
    names = (f"{number:07}" for number in range(_MOST))
    sources = {name: dataclasses.replace(source, name=name) for name, source in zip(names, itertools.cycle(found))}
    journal = Journal(folder, Maker(embedder.fingerprint, precision_of(embedder), embedder.dim))
    embed_sources(sources, embedder, journal, reading=Reading(), progress=_Counted(count))


@dataclass(frozen=True)
class _Counted:
    """Progress that counts pictures as they are embedded; the first batch says that it is ready."""

    count: Count
    counts: bool = False

    def stage(self, name: str, total: int | None = None) -> _Counted:
        return _Counted(self.count, name == "embedding")

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, n: float = 1) -> None:
        if self.counts:
            self.count.add(int(n))

    def note(self, text: str) -> None:
        return None


if __name__ == "__main__":
    main(*sys.argv[1:])
