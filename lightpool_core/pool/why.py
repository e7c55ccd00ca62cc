"""Why a file or frame is in a version of the pool, or why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from lightpool_core.errors import SourceNotFound
from lightpool_core.media.source import readable, video_of
from lightpool_core.pool.runs import Run, age, newest_first
from lightpool_core.report import PROMISED
from lightpool_core.selection.stop import Stop

if TYPE_CHECKING:
    from lightpool_core.pool.datapool import Datapool

_ROUNDING = 1e-6
"""By which a sampler's distances may differ from those recorded."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a file or frame is in a version of the pool, or not. What does not apply is None."""

    filename: str
    version: int
    """The version that was asked about."""
    decision: str
    """selected, rejected; for what was no candidate duplicate, corrupt, or processed."""
    run: str
    """The run that decided."""
    joined: int | None = None
    """The version that it joined in."""
    rank: int | None = None
    """1 for the first pick of the run."""
    of: int | None = None
    """How many the run chose."""
    distance: float | None = None
    """Euclidean, to the nearest kept: at the moment of the pick, or for the rejected in the end."""
    nearest: str | None = None
    """The kept sample nearest to a rejected one."""
    nearest_version: int | None = None
    """The version that it joined in."""
    because: str | None = None
    """What rejected it: min_distance, n_samples, or neither of them, but the sampler; or sequence: it is in none."""
    n_samples: int | float | None = None
    min_distance: float | None = None
    sampler: str | None = None
    """Of the run, as the two above."""
    reason: str | None = None
    """In words, for what was no candidate."""
    sequence: str | None = None
    """The first frame of its sequence, if it was chosen, or not, as part of one."""
    sequence_length: int | None = None
    """Frames of the sequences that the run chose among."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def why(pool: Datapool, filename: str) -> Decision:
    """Why `filename` is in `pool`, or why not, as its runs and its ledger tell.

    Raises SourceNotFound for a name that no run up to that version has met.
    """
    name = readable(PurePosixPath(filename).as_posix())
    if member := _selected(pool, name):
        return member
    left_out, recorded = _left_out(pool, name), _recorded(pool, name)
    if left_out and recorded:
        # A file looked at again is `processed` whatever came of it: then the run knows better.
        newer = recorded.decision != "processed" and age(recorded.run) > age(left_out.run)
        return recorded if newer else left_out
    if found := left_out or recorded:
        return found
    raise SourceNotFound(
        f"version {pool.version.number} of {pool.path} knows no {name}: no run up to it met a file or frame"
        f" of that name; {_hint(pool, name)}"
    )


def _selected(pool: Datapool, name: str) -> Decision | None:
    """Told by `history/` itself: `runs/` may have been deleted."""
    table = pool.columns("filename", "distance", "version", "run")
    row = pc.index(table["filename"], name).as_py()
    if row < 0:
        return None
    distance, joined, run = (table[column][row].as_py() for column in ("distance", "version", "run"))
    together = pc.equal(table["version"], joined)
    rank, of = pc.sum(together[: row + 1]).as_py(), pc.sum(together).as_py()
    its = Run.of(pool.path, run or "")
    asked = _asked(its.report() or {})
    if asked["sequence_length"]:
        asked["sequence"] = (its.decision(name) or {}).get("sequence")
    return Decision(name, pool.version.number, "selected", run or "", joined, rank, of, distance, **asked)


def _left_out(pool: Datapool, name: str) -> Decision | None:
    """The newest run that rejected `name` or could not read it."""
    for run, report in _runs(pool):
        row = run.decision(name)
        if row and row["decision"] == "rejected":
            found = {key: row.get(key) for key in ("distance", "nearest", "nearest_version", "sequence")}
            because, of = _because(found, report), report["samples"]["selected"]
            asked = _asked(report)
            return Decision(name, pool.version.number, "rejected", run.name, of=of, because=because, **found, **asked)
        reasons = [problem["reason"] for problem in report["corrupt"] if problem["filename"] == name]
        if reasons:
            return Decision(name, pool.version.number, "corrupt", run.name, reason=reasons[0])
    return None


def _recorded(pool: Datapool, name: str) -> Decision | None:
    """What the ledger says of the raw file `name`; of several records the newest that says more than `processed`."""
    records = pool.ledger.about(name, pool.version.number).to_pylist()
    if not records:
        return None
    record = max(records, key=lambda record: (record["status"] != "processed", age(record["run"])))
    status, run, reason = record["status"], record["run"], record["reason"]
    if status == "processed":
        status, reason = _processed(pool, record)
    return Decision(name, pool.version.number, status, run, reason=reason)


def _processed(pool: Datapool, record: dict[str, Any]) -> tuple[str, str]:
    """What became of a file that was decoded and has no decision of its own."""
    members = pool.columns("filename", "source", "source_digest")
    if record["kind"] == "video":
        joined = pc.sum(pc.equal(members["source"], record["source"])).as_py() or 0
        cut = f", cut short: {record['reason']}" if record["reason"] else ""
        frames = f"{record['samples']} of its frames were looked at{cut}"
        return "processed", f"a video; {frames}, {joined} are in version {pool.version.number}"
    twin = pc.index(members["source_digest"], record["digest"]).as_py()
    if twin >= 0:
        return "duplicate", f"same bytes as {members['filename'][twin]}"
    return "processed", f"looked at in run {record['run']}, which left no account of its decisions"


def _runs(pool: Datapool) -> Iterator[tuple[Run, dict[str, Any]]]:
    """The runs that led to this version, and those that added nothing to it, with their reports, newest first."""
    versions = pool.history()
    restored = {version.number: version.restored for version in versions if version.restored is not None}
    line, number = list[range](), pool.version.number
    while number >= 0:
        start = max((after for after in restored if after <= number), default=0)
        line.append(range(start, number + 1))
        number = restored.get(start, -1)
    committed = {version.run for version in versions}
    for run in newest_first(pool.path):
        report = run.report()
        if report is None or not report.keys() >= PROMISED:
            continue
        if any(report["version"] in part for part in line) and (run.is_settled or run.name in committed):
            yield run, report


def _asked(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report.get(key) for key in ("n_samples", "min_distance", "sampler", "sequence_length")}


def _because(found: dict[str, Any], report: dict[str, Any]) -> str:
    distance, closest, samples = found["distance"], report["min_distance"], report["samples"]
    length = report.get("sequence_length")
    if length and found["sequence"] is None:
        return "sequence"
    if closest is not None and distance is not None and distance < closest + _ROUNDING:
        return "min_distance"
    if report.get("achieved") or report.get("max_per") or report.get("min_seconds") is not None:
        return "sampler"  # a threshold, a limit, or another objective: there is no telling from distances and counts
    full = samples["selected"] + (length or 1) > Stop(report["n_samples"]).count(samples["candidates"])
    return "n_samples" if full else "sampler"


def _hint(pool: Datapool, name: str) -> str:
    video = video_of(name)
    record = _recorded(pool, video) if video else None
    if record and record.decision == "processed":
        if not Run.of(pool.path, record.run).explained:
            return f"its video {video} was looked at in run {record.run}, which left no account of its decisions"
        return f"its video {video} was looked at without it: fps leaves it out, or its pixels are those of another one"
    newest = max(version.number for version in pool.history())
    if newest > pool.version.number:
        return f"the newest version is {newest}"
    return "give the name that the pool uses, the path relative to the input"
