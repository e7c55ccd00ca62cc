"""The rows of `history/` and `sources/`, and whether they agree.

M: samples of a version. D: dimension.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from lightpool_core.arrays import Rows
from lightpool_core.pool.checks.tables import State, file_finding, log_findings, states
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.finding import Finding, damaged, said, warning

_BLOCK = 8192
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class _File:
    """What is in one data file."""

    rows: int
    positions: Rows
    """(rows,) for `history/`; none for `sources/`."""


def table_findings(table: Path, *, all_versions: bool = True) -> Iterator[Finding]:
    """What is wrong with a table: its log, its versions, its data files, their rows.

    Without `all_versions` only the newest has to be whole.
    """
    yield from log_findings(table)
    found = list(states(table))
    yield from (one for one in found if isinstance(one, Finding))
    known = [one for one in found if isinstance(one, State)]
    known = known if all_versions else known[-1:]
    sizes = {name: (state, size, n) for state in known for name, (size, n) in state.files.items()}
    files: dict[str, _File] = {}
    for name, (state, size, n_rows) in sorted(sizes.items()):
        finding = file_finding(table, name, size)
        if finding:
            yield finding
            continue
        try:
            files[name] = yield from _read(table / unquote(name), _dim_of(state))
        except Exception as error:  # whatever damaged bytes make of the library
            yield damaged(table / unquote(name), f"the file cannot be read ({said(error)})")
            continue
        if files[name].rows != n_rows:
            yield damaged(table / unquote(name), f"the file has {files[name].rows} rows, the log says {n_rows}")
    for state in known:
        if state.note is not None and all(name in files for name in state.files):
            yield from _version_findings(table, state.note, [files[name] for name in state.files])


def _dim_of(state: State) -> int | None:
    """D of a version of `history/`; None for the ledger."""
    return state.note.get("dim") if state.note else None


def _read(path: Path, dim: int | None) -> Generator[Finding, None, _File]:
    """Read a data file whole, a block at a time; returns what is in it."""
    positions: list[Rows] = []
    count = 0
    worst: dict[str, None] = {}
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BLOCK):
            count += batch.num_rows
            if dim is not None:
                positions.append(batch["position"].to_numpy(zero_copy_only=False))
                worst |= dict.fromkeys(embedding_problems(batch["embedding"], dim))
    yield from (damaged(path, problem) for problem in worst)
    return _File(count, np.concatenate(positions) if positions else np.empty(0, np.int64))


def embedding_problems(column: pa.Array, dim: int) -> Iterator[str]:
    """What is wrong with embeddings as `history/` holds them."""
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy()
    if (lengths != dim).any():
        yield f"it holds embeddings that are not of dimension {dim}"
        return
    vectors = pc.list_flatten(column).to_numpy(zero_copy_only=False).reshape(-1, dim)
    if not np.isfinite(vectors).all():
        yield "it holds embeddings that are not finite"
    elif len(vectors) and np.abs(np.linalg.norm(vectors.astype(np.float64), axis=1) - 1).max() > _ROUNDING:
        yield "it holds embeddings that are not of unit length"


def _version_findings(table: Path, note: Mapping[str, Any], files: list[_File]) -> Iterator[Finding]:
    """Whether the files of one version make up what its note says."""
    if "samples" not in note:  # the ledger
        return
    number, count = note["number"], sum(file.rows for file in files)
    if count != note["samples"]:
        yield damaged(table, f"version {number} has {count} samples, its note says {note['samples']}")
        return
    positions = np.concatenate([file.positions for file in files]) if files else np.empty(0, np.int64)
    if not np.array_equal(np.sort(positions), np.arange(count)):
        yield damaged(table, f"the positions of version {number} are not 0 to {count - 1}, each once")


def name_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether every sample of the newest version has a name of its own."""
    names = pool.columns("filename")["filename"]
    if names.null_count:
        yield damaged(pool.path / "history", f"{names.null_count} samples have no name")
    counts = pc.value_counts(names.combine_chunks())
    double = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(double):
        example = double[0]["values"].as_py()
        yield damaged(pool.path / "history", f"{len(double)} names occur more than once, such as {example!r}")


def ledger_findings(pool: Datapool) -> Iterator[Finding]:
    """Whether the ledger is that of the newest version, and knows the raw file of every sample."""
    folder = pool.path / "sources"
    ledger, number = pool.ledger.newest()["number"], pool.version.number
    if ledger > number:
        yield damaged(pool.path / "history", f"the ledger is of version {ledger}, the newest in history is {number}")
        return
    if ledger < number:
        owed = any((pool.path / "runs").glob(f"{pool.version.run}/pending.parquet")) if pool.version.run else False
        if owed or pool.version.restored is not None:
            what = f"the command that made version {number} was cut off: the ledger is of version {ledger}"
            yield warning(folder, what, "the next append or --repair completes it")
        else:
            yield damaged(folder, f"the ledger is of version {ledger}, the newest in history is {number}")
        return
    samples = pool.columns("source", "source_digest").group_by(["source", "source_digest"]).aggregate([])
    known = pool.ledger.known(d for d in samples["source_digest"].to_pylist() if d is not None)
    for row in samples.to_pylist():
        if row["source_digest"] not in known:
            yield damaged(folder, f"the ledger does not know {row['source']!r}, which samples come from")
            return
