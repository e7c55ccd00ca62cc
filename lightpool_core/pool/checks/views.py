"""What is made from `history/`: the CSV, and what stands beside it: settings and checkpoint.

M: samples. D: dimension.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from lightpool_core.arrays import Embeddings
from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.errors import EmbedderMismatch, LightpoolError
from lightpool_core.pool import latest
from lightpool_core.pool.datapool import CHECKPOINT_NAME, Datapool
from lightpool_core.pool.finding import REPAIR, Finding, damaged, said, warning
from lightpool_core.pool.history import schema
from lightpool_core.pool.table import Table
from lightpool_core.registry import make, names
from lightpool_core.settings import SETTINGS_NAME, PluginChoice, Settings

Digests: TypeAlias = npt.NDArray[np.uint64]
_ROWS = 8192
"""Of a data file, that are looked at at once."""
_BLOCK = 1 << 24
"""Bytes of a CSV that are looked at at once."""


def digests_of(embeddings: Embeddings) -> Digests:
    """(M,) what identifies each row of (M, D): 8 bytes of BLAKE2b."""
    rows = np.ascontiguousarray(embeddings, dtype=np.float32)
    return np.frombuffer(b"".join(hashlib.blake2b(row.data, digest_size=8).digest() for row in rows), np.uint64)


def pool_digests(pool: Datapool) -> Digests:
    """(M,) of the embeddings of a pool, in the order of positions."""
    found = np.zeros(len(pool), np.uint64)
    folder = pool.path / "history"
    for name in Table(folder, schema(pool.dim)).files()["path"].to_pylist():
        # File by file: a dataset would read ahead, and fill the memory with embeddings.
        with parquet.ParquetFile(folder / unquote(name)) as file:
            for batch in file.iter_batches(_ROWS, columns=["position", "embedding"]):
                rows = pc.list_flatten(batch["embedding"]).to_numpy().reshape(-1, pool.dim)
                found[batch["position"].to_numpy()] = digests_of(rows)
    return found


def settings_findings(path: Path) -> Iterator[Finding]:
    """Whether the settings can be read, and lead to something."""
    file = path / SETTINGS_NAME
    try:
        settings = Settings.read(path)
    except (LightpoolError, OSError, ValueError, TypeError) as error:
        what = said(error).removeprefix(f"settings {file}: ").removesuffix("; mend the file")
        yield damaged(file, what, "mend the file")
        return
    places = {f"input {place}": place for place in settings.inputs}
    for name in ("filenames", "metadata", "predictions", "scores"):
        if place := getattr(settings, name):
            places[f"{name} {place}"] = place
    for what, place in places.items():
        if not place.exists():
            yield warning(file, f"{what} does not exist", "bring it back, or mend the settings")


def csv_findings(pool: Datapool, digests: Digests) -> Iterator[Finding]:
    """Whether `datapool_latest.csv` holds what `history/` holds; `digests` (M,) are those of the pool."""
    path = pool.path / latest.CSV_NAME
    try:
        wanted = Settings.read(pool.path).csv
    except LightpoolError:  # told elsewhere
        wanted = True
    if not wanted:
        if path.exists():
            yield warning(path, "the settings want no CSV", "the next append or --repair takes it away")
        return
    if not path.exists():
        yield warning(path, "the file is missing", "the next append or --repair makes it again")
        return
    shown = latest.shown(pool.path)
    if shown is not None and shown < pool.version.number:
        what = f"it shows version {shown}, the newest is {pool.version.number}"
        yield warning(path, what, "the next append or --repair makes it again")
        return
    try:
        problem = _first_difference(path, pool, digests)
    except (OSError, pa.ArrowException, ValueError) as error:
        problem = f"it cannot be read ({said(error)})"
    if problem:
        yield damaged(path, problem, REPAIR)


def _first_difference(path: Path, pool: Datapool, digests: Digests) -> str | None:
    header = ["filenames", *(f"embedding_{i}" for i in range(pool.dim)), "labels"]
    types = {"filenames": pa.string(), "labels": pa.int64(), **dict.fromkeys(header[1:-1], pa.float32())}
    expected = pool.columns("filename", "label").combine_chunks()
    done = 0
    with (
        path.open("rb") as stream,
        csv.open_csv(
            stream,
            csv.ReadOptions(block_size=_BLOCK),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        ) as reader,
    ):
        if reader.schema.names != header:
            return "its header is another one"
        for batch in reader:
            part = expected.slice(done, batch.num_rows)
            vectors = np.stack([column.to_numpy() for column in batch.columns[1:-1]], axis=1)
            same = np.zeros(batch.num_rows, dtype=bool)
            same[: part.num_rows] = (
                (batch["filenames"][: part.num_rows].to_numpy(False) == part["filename"].to_numpy())
                & (batch["labels"][: part.num_rows].to_numpy() == part["label"].to_numpy())
                & (digests_of(vectors)[: part.num_rows] == digests[done : done + part.num_rows])
            )
            if not same.all():
                row = int(np.argmin(same))
                return f"row {done + row + 1}, {batch['filenames'][row].as_py()!r}, is not as in history"
            done += batch.num_rows
    return None if done == len(pool) else f"it has {done} rows, the pool has {len(pool)} samples"


def checkpoint_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether `checkpoint_latest.ckpt` is whole, and of the embedder that made the pool's embeddings."""
    path = pool.path / CHECKPOINT_NAME
    if not path.exists():
        yield warning(path, "the file is missing", "the next append or --repair makes it again")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                yield damaged(path, f"its part {broken} is not as it was written", REPAIR)
                return
        checkpoint = Checkpoint.read(path)
    except Exception as error:  # damaged bytes raise nearly every type there is
        yield damaged(path, f"it cannot be read ({said(error.__cause__ or error)})", REPAIR)
        return
    if (checkpoint.fingerprint, checkpoint.dim) != (pool.version.fingerprint, pool.dim):
        what = f"it is of the embedder {checkpoint.fingerprint}, the pool's is {pool.version.fingerprint}"
        yield damaged(path, what, REPAIR)
        return
    yield from _weight_findings(path, checkpoint)


def _weight_findings(path: Path, checkpoint: Checkpoint) -> Iterator[Finding]:
    """Whether the weights are those that the fingerprint tells, where the embedder is installed."""
    # Not of a class in a file: whoever checks a pool does not want to run what it names.
    if not checkpoint.weights or checkpoint.embedder not in names("embedder"):
        return
    try:
        checkpoint.restored(make("embedder", PluginChoice(checkpoint.embedder, checkpoint.options), device="cpu"))
    except EmbedderMismatch:
        yield damaged(path, "its weights are not those of its fingerprint", REPAIR)
    except LightpoolError as error:
        yield warning(path, f"its weights cannot be compared here ({said(error)})", "check it where its embedder works")
