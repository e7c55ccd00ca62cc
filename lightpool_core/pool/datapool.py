"""A datapool at one version."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Embeddings, Labels, Rows
from lightpool_core.errors import PoolLocked, PoolNotFound, VersionNotFound
from lightpool_core.media.source import SampleRef
from lightpool_core.pool import latest
from lightpool_core.pool.clock import now
from lightpool_core.pool.content import NOTHING, grown
from lightpool_core.pool.enclosure import check_enclosed
from lightpool_core.pool.history import History, Version, schema
from lightpool_core.pool.index import Index, cached_index
from lightpool_core.pool.ledger import Ledger
from lightpool_core.pool.lock import Wait, writing
from lightpool_core.pool.metadata import columns_of
from lightpool_core.pool.repair import repair
from lightpool_core.pool.under_way import under_way
from lightpool_core.pool.why import Decision, why
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.settings import SETTINGS_NAME, Settings

if TYPE_CHECKING:
    import pandas as pd

CHECKPOINT_NAME = "checkpoint_latest.ckpt"
_WORTH_AN_INDEX = 16_384
"""Rows; below, products with all of them are faster than loading an index."""


@dataclass(frozen=True)
class Datapool:
    """The chosen samples of the pool in the folder `path`, at `version`.

    M samples, in the order in which they joined. A later commit makes another Datapool; this one stays.
    """

    path: Path
    version: Version
    _opened: History | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path, number: int | None = None) -> Datapool:
        """The pool in the folder `path`, at version `number` (the newest).

        Raises PoolNotFound, VersionNotFound, CorruptPool.
        """
        path = Path(path)
        if not (path / SETTINGS_NAME).is_file():
            what = "holds no datapool" if path.exists() else "does not exist"
            raise PoolNotFound(f"{path} {what}; make one with: lightpool init --pool {path} --input DIR")
        check_enclosed(path)
        history = History(path)
        versions = {version.number: version for version in history.versions()}
        if number is not None and number not in versions:
            kept = ", ".join(str(n) for n in sorted(versions)[-20:])
            raise VersionNotFound(f"version {number} is not in {path}; it keeps {kept}")
        version = versions[max(versions) if number is None else number]
        return cls(path, version, dataclasses.replace(history, dim=version.dim))

    @classmethod
    def create(cls, path: Path, dim: int, fingerprint: str) -> Datapool:
        """An empty pool for embeddings of dimension `dim`, at version 0; the folder must be there."""
        version = Version(0, now(), 0, 0, "init", dim, fingerprint, content=NOTHING)
        History(path, dim).create(version)
        Ledger(path).create({"number": 0})
        return cls(path, version)

    def __len__(self) -> int:
        return self.version.samples

    @property
    def dim(self) -> int:
        """D, fixed for the life of the pool."""
        return self.version.dim

    @property
    def ledger(self) -> Ledger:
        """The raw files already processed."""
        return Ledger(self.path)

    @cached_property
    def embeddings(self) -> Embeddings:
        """(M, D) unit rows."""
        return self._history.embeddings(self.version.number, len(self))

    @cached_property
    def filenames(self) -> list[str]:
        """(M,) the samples' names, each once."""
        return list(self.columns("filename")["filename"].to_pylist())

    @cached_property
    def labels(self) -> Labels:
        """(M,) weak labels."""
        return np.asarray(self.columns("label")["label"].to_numpy(), dtype=np.int64)

    @cached_property
    def refs(self) -> tuple[SampleRef, ...]:
        """(M,) which picture of which raw file each sample is."""
        table = self.columns("filename", "source", "frame", "time")
        return tuple(map(SampleRef, *(table[name].to_pylist() for name in table.column_names)))

    @cached_property
    def annotations(self) -> Annotations:
        """What else is known of the samples, columns (M,): size, weak label, and the metadata that they joined with."""
        table = self.columns("width", "height", "label", "label_name", "metadata")
        size = {name: table[name].cast(pa.float64()).to_numpy() for name in ("width", "height")}
        labels = {
            "weak_label": table["label"].cast(pa.float64()).to_numpy(),
            "weak_label_name": np.array(table["label_name"].to_pylist(), dtype=object),
        }
        return Annotations(labels | columns_of(table["metadata"].to_pylist(), size))

    @property
    def label_names(self) -> dict[str, int]:
        """What the weak labels stand for: subfolder or video → integer. A flat folder is '' → 0."""
        pairs = self.columns("label_name", "label").group_by(["label_name", "label"]).aggregate([])
        return dict(sorted(zip(pairs["label_name"].to_pylist(), pairs["label"].to_pylist(), strict=True)))

    @property
    def labels_given(self) -> dict[str, int]:
        """`label_names`, and those of the versions that restores went back from: a number keeps its meaning."""
        versions = self.history()
        left = {version.number - 1 for version in versions if version.event == "restore"}
        given: dict[str, int] = {}
        for version in versions:
            if version.number in left:
                given |= Datapool(self.path, version).label_names
        return given | self.label_names

    def columns(self, *names: str) -> pa.Table:
        """Columns of `history/` at this version; see `lightpool_core.pool.history.schema`."""
        return self._history.columns(self.version.number, list(names))

    def to_frame(self) -> pd.DataFrame:
        """The columns of `datapool_latest.csv`, then what else is known of each sample."""
        import pandas as pd

        vectors = pd.DataFrame(self.embeddings, columns=[f"embedding_{i}" for i in range(self.dim)])
        apart = ("position", "filename", "label", "embedding")
        names = [name for name in schema(self.dim).names if name not in apart]
        more = self.columns(*names).to_pandas()
        first = pd.Series(self.filenames, name="filenames", dtype=str)
        labels = pd.Series(self.labels, name="labels")
        frame: pd.DataFrame = pd.concat([first, vectors, labels, more], axis=1)
        return frame

    def changes_since(self, other: Datapool) -> tuple[list[str], list[str]]:
        """Names of the samples that joined since `other`, and of those that left, in the order of the pools."""
        mine, theirs = (pool.columns("filename", "digest").to_pylist() for pool in (self, other))
        ours, old = ({(row["filename"], row["digest"]) for row in rows} for rows in (mine, theirs))
        joined = [row["filename"] for row in mine if (row["filename"], row["digest"]) not in old]
        left = [row["filename"] for row in theirs if (row["filename"], row["digest"]) not in ours]
        return joined, left

    def why(self, filename: str) -> Decision:
        """Why the file or frame `filename` is among the samples, or why not.

        Raises SourceNotFound for a name that no run up to this version has met.
        """
        return why(self, filename)

    def view(self, *, device: str = "auto", locked: bool = False) -> ArrayView:
        """What a sampler needs to keep a distance from this pool.

        A large pool is compared with through its cache in `index/`, made or caught up first where this process
        may write to the pool; `locked` says that it holds the pool's lock already.
        """
        if len(self) >= _WORTH_AN_INDEX:
            with suppress(PoolLocked, OSError), nullcontext() if locked else writing(self.path):
                index = self._index()
                if index:
                    return self._viewed(ArrayView(index.rows, index.graph, index.cells, device))
        return self._viewed(ArrayView(self.embeddings, device=device))

    def _viewed(self, view: ArrayView) -> ArrayView:
        """`view`, which knows what its rows are: read when a sampler asks."""
        return dataclasses.replace(view, refs=lambda: self.refs, annotations=lambda: self.annotations)

    def _index(self) -> Index | None:
        """The cache in `index/`, which belongs to the newest version; None for another."""
        number, pieces = self.version.number, self._history.pieces(self.version.number)
        if number != self.history()[-1].number or sum(count for _, count in pieces) != len(self):
            return None

        def read(start: int) -> Iterator[tuple[Rows, Embeddings]]:
            return self._history.embeddings_from(number, start)

        return cached_index(self.path / "index", self.dim, pieces, read)

    def history(self) -> list[Version]:
        """All versions that can be restored, oldest first."""
        return self._history.versions()

    def commit(self, rows: pa.Table, version: Version) -> Datapool:
        """The next version: this one's samples, then `rows` without their positions."""
        positions = pa.array(range(len(self), len(self) + rows.num_rows), pa.int64())
        rows = rows.add_column(0, "position", positions).cast(schema(self.dim))
        version = dataclasses.replace(version, content=grown(self.version.content, rows))
        self._history.append(rows, version)
        return Datapool(self.path, version)

    def restore(self, number: int, wait: Wait | None = None) -> Datapool:
        """A new version equal to version `number`, with the ledger of that time. Nothing is lost by it.

        `wait` is told what it waits for while another command writes to the pool; without, PoolLocked is raised.
        """
        with writing(self.path, wait):
            newest = Datapool.open(self.path)
            repair(newest)
            old = Datapool.open(self.path, number)
            if number == newest.version.number:
                return newest
            self.ledger.check_known(number)  # before anything is committed
            version = dataclasses.replace(
                old.version,
                number=newest.version.number + 1,
                time=now(),
                added=len(old) - len(newest),
                event="restore",
                run="",
                restored=number,
                counts={},
            )
            restored = Datapool(self.path, version)
            with under_way(self.path):
                newest._history.restore(number, version)
                restored.ledger.restore(number, {"number": version.number})
                restored.tidy()
            return restored

    def tidy(self) -> None:
        """Leave what the settings want of this newest version: its CSV or none, older versions or none."""
        self.refresh_csv()
        if not Settings.read(self.path).keep_history and len(self.history()) > 1:
            self.prune()

    def refresh_csv(self) -> None:
        """Bring `datapool_latest.csv` to this version, which must be the newest, where the settings want one."""
        if not Settings.read(self.path).csv:
            latest.remove(self.path)
        elif not latest.is_current(self.path, self.version.number):
            latest.write_embeddings_csv(self.path / latest.CSV_NAME, self.filenames, self.embeddings, self.labels)
            latest.mark_current(self.path, self.version.number)

    def prune(self) -> None:
        """Forget every version but this one, which must be the newest."""
        with under_way(self.path, prune=self.version.number):
            self._history.prune(self.version)
            self.ledger.prune()

    @cached_property
    def _history(self) -> History:
        return self._opened or History(self.path, self.dim)
