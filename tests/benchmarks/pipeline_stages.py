"""The bare cost of each stage of the pipeline, on all cores at once: what the machine can do at best.

    python tests/benchmarks/pipeline_stages.py STAGE EMBEDDER FOLDER SECONDS START

is one of the processes, one per core, that go through the pictures in FOLDER together from the time START on. It
prints how many pictures it did, and in how many seconds. B: pictures in a batch.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.embedding.embedder import batch_size_of, preparer_of
from lightpool_core.embedding.lanes import n_cores
from lightpool_core.media.image import read_image
from lightpool_core.media.inputs import list_sources
from lightpool_core.registry import make
from lightpool_core.settings import PluginChoice

STAGES = ("decode", "prepare", "embed")
_PICTURES = 256
_READY = 6.0
"""Seconds until all processes have made themselves ready."""


def core_seconds(stage: str, choice: PluginChoice, folder: Path, seconds: float) -> float:
    """Of one core, per picture, while all cores are at it."""
    start = time.time() + _READY + (10 if choice.options else 0)
    arguments = [stage, json.dumps([choice.name, dict(choice.options)]), str(folder), str(seconds), str(start)]
    commands = [[sys.executable, __file__, *arguments] for _ in range(n_cores())]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    answers = [json.loads(process.communicate()[0]) for process in processes]
    return sum(spent for _, spent in answers) / sum(done for done, _ in answers)


def main(stage: str, choice: str, folder: str, seconds: str, start: str) -> None:
    """One process."""
    import torch

    torch.set_num_threads(1)
    name, options = json.loads(choice)
    embedder = make("embedder", PluginChoice(name, options))
    files = [source.file for source in list_sources([Path(folder)])][:_PICTURES]
    work = {"decode": _decode, "decode whole": _decode_whole, "prepare": _prepare, "embed": _embed}[stage]
    steps = work(embedder, files)
    next(steps)
    if time.time() > float(start):
        raise SystemExit("not ready in time: this machine is too busy to measure on")
    time.sleep(float(start) - time.time())
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < float(seconds):
        done += next(steps)
    print(json.dumps([done, time.perf_counter() - began]))


def _decode(embedder: Any, files: list[Path]) -> Iterator[int]:
    return _each(files, lambda file: read_image(file, short_side=embedder.input_size))


def _decode_whole(_: Any, files: list[Path]) -> Iterator[int]:
    return _each(files, read_image)


def _prepare(embedder: Any, files: list[Path]) -> Iterator[int]:
    pictures = [read_image(file, short_side=embedder.input_size).pixels for file in files]
    return _each(pictures, preparer_of(embedder).prepare)


def _embed(embedder: Any, files: list[Path]) -> Iterator[int]:
    """Slices of a batch, as many as there are cores; each process embeds its own, on one thread."""
    import torch

    size = max(1, batch_size_of(embedder) // n_cores())
    prepare = preparer_of(embedder).prepare
    batch = np.stack([prepare(read_image(file, short_side=embedder.input_size).pixels) for file in files[:size]])
    tower = getattr(embedder, "_tower", None)
    if tower is None:
        return _each(itertools.repeat(batch), embedder.embed, len(batch))
    # The network alone, on inputs that are normalised already.
    inputs = torch.rand(len(batch), 3, *batch.shape[1:3]).to(tower.dtype).to(memory_format=torch.channels_last)
    return _each(itertools.repeat(inputs), torch.inference_mode()(tower.modules[0]), len(batch))


def _each(things: Any, do: Callable[[Any], Any], count: int = 1) -> Iterator[int]:
    for thing in itertools.cycle(things) if isinstance(things, list) else things:
        do(thing)
        yield count


if __name__ == "__main__":
    main(*sys.argv[1:])
