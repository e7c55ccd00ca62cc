"""The plugin contracts as callable checks, for the tests of plugin authors."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Array, Embeddings, Pixels, unit_rows
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.embedder import Embedder, batch_size_of, embeds_text, lanes_of, preparer_of
from lightpool_core.errors import ContractViolation
from lightpool_core.media.quality import PREFIX
from lightpool_core.media.source import SampleRef, frame_name
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Sampler, Selection, checked
from lightpool_core.selection.stop import Stop

_SHAPES = ((48, 64, 3), (64, 48, 3), (7, 5, 3), (1, 1, 3), (300, 200, 3))
_AT_ONCE = 0.5
"""Seconds in which lanes are tried."""
_SIZE = {"width": 640.0, "height": 480.0}


def check_embedder(embedder: Embedder) -> None:
    """Run `embedder` on small pictures. Raises ContractViolation saying which promise it breaks."""
    name = type(embedder).__name__
    _require(dataclasses.is_dataclass(embedder), name, "is no dataclass")
    _require(isinstance(embedder.dim, int) and embedder.dim > 0, name, "has no dim above 0")
    _require(bool(embedder.fingerprint), name, "has no fingerprint")
    _require(embedder.fingerprint == copy.copy(embedder).fingerprint, name, "changes its fingerprint")
    _require(embedder.input_size > 0, name, "has no input_size above 0")
    _require(0 <= embedder.near_duplicate <= 2, name, "has a near_duplicate that is not from 0 to 2")
    prepared = [np.asarray(embedder.prepare(picture)) for picture in _pictures()]
    shapes = sorted({array.shape for array in prepared})
    _require(len(shapes) == 1, name, f"prepares pictures to different shapes, {shapes}")
    _require(batch_size_of(embedder) > 0, name, "has no batch_size above 0")
    _check_travels(embedder, name)
    together = _embedded(embedder, np.stack(prepared))
    alone = np.concatenate([_embedded(embedder, array[None]) for array in prepared])
    _require(np.allclose(together, alone, atol=1e-3), name, "answers otherwise for a picture alone than in a batch")
    _check_lanes(embedder, name, np.stack(prepared), together)
    if embeds_text(embedder):
        _checked_rows(np.asarray(embedder.embed_text(["a red truck", "fog"])), 2, embedder)


def _check_lanes(embedder: Embedder, name: str, batch: Array, expected: Embeddings) -> None:
    """Where an embedder takes several batches at once, none may end up in another."""
    n_lanes = lanes_of(embedder)
    if n_lanes == 1:  # called in one thread only, which may be all that it bears
        return

    def differs(lane: int) -> bool:
        turned, wanted = np.roll(batch, lane, axis=0), np.roll(expected, lane, axis=0)
        until, wrong = time.monotonic() + _AT_ONCE, False
        while not wrong and time.monotonic() < until:
            wrong = not np.allclose(_embedded(embedder, turned), wanted, atol=1e-3)
        return wrong

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns at any place, and not just where one waits
    try:
        with ThreadPoolExecutor(n_lanes) as lanes:
            wrong = any(list(lanes.map(differs, range(n_lanes))))
    finally:
        sys.setswitchinterval(usual)
    _require(not wrong, name, f"answers otherwise when {n_lanes} threads call embed at once, as its lanes allow")


def _check_travels(embedder: Embedder, name: str) -> None:
    """What prepares pictures in worker processes has to get there, and to prepare them just the same."""
    try:
        preparer = pickle.loads(pickle.dumps(preparer_of(embedder)))  # noqa: S301  # our own bytes
    except Exception as error:  # whatever a plugin holds may refuse in its own way
        raise ContractViolation(
            f"plugin {name} cannot be pickled ({error}); give it a method preparer() that answers with what can"
        ) from error
    for picture in _pictures():
        same = np.array_equal(preparer.prepare(picture), embedder.prepare(picture))
        _require(same, name, "prepares pictures otherwise in a worker process")


def check_sampler(sampler: Sampler) -> None:
    """Run `sampler` on small problems. Raises ContractViolation saying which promise it breaks."""
    name = type(sampler).__name__
    _require(dataclasses.is_dataclass(sampler), name, "is no dataclass")
    rng = np.random.default_rng(0)
    candidates, pool = _unit(rng, 60), _unit(rng, 20)
    crowded = np.concatenate([candidates, candidates[:30]])
    for rows in (candidates, crowded, candidates[:1], candidates[:0]):
        for kept in (pool, pool[:0]):
            for stop in (Stop(), Stop(5), Stop(0), Stop(0.5), Stop(min_distance=0.8), Stop(40, 0.5)):
                _check_selection(sampler, rows, kept, stop)


def _check_selection(sampler: Sampler, rows: Embeddings, kept: Embeddings, stop: Stop) -> None:
    name = type(sampler).__name__
    first, again = _selection(sampler, rows, kept, stop), _selection(sampler, rows, kept, stop)
    _require(np.array_equal(first.indices, again.indices), name, "answers otherwise when asked again")
    _check_distances(name, first, rows, kept)
    if stop.min_distance is None:
        return
    together = np.concatenate([kept, rows[first.indices]]).astype(np.float64)
    for i in range(len(kept), len(together)):
        if i and np.linalg.norm(together[:i] - together[i], axis=1).min() < stop.min_distance:
            raise ContractViolation(f"sampler {name} keeps two samples closer than min_distance {stop.min_distance}")


def _check_distances(name: str, selection: Selection, rows: Embeddings, kept: Embeddings) -> None:
    together = np.concatenate([kept, rows[selection.indices]]).astype(np.float64)
    for i, distance in enumerate(selection.distances, start=len(kept)):
        true = np.linalg.norm(together[:i] - together[i], axis=1).min(initial=np.inf)
        _require(bool(np.isclose(distance, true, atol=1e-3)), name, f"answers distance {distance:.4f} for {true:.4f}")


def _selection(sampler: Sampler, rows: Embeddings, kept: Embeddings, stop: Stop) -> Selection:
    asked = np.random.default_rng(2)
    queries = {query: _unit(asked, 3) for query in getattr(sampler, "queries", ())}
    candidates = dataclasses.replace(_candidates(rows), queries=queries)
    answer = sampler.select(candidates, ArrayView(kept), stop, np.random.default_rng(1))
    return checked(answer, len(rows), stop, type(sampler).__name__)


def _candidates(rows: Embeddings) -> Candidates:
    """As an append would hand them over: images of three folders, then frames of one video."""
    n = len(rows)
    images, frames = range(n // 2), range(n - n // 2)
    refs = [SampleRef(f"{i % 3}/{i:03}.png", f"{i % 3}/{i:03}.png") for i in images]
    refs += [SampleRef(frame_name("clip.mp4", i, len(frames)), "clip.mp4", i, i / 2) for i in frames]
    labels = np.array([*(1 + i % 3 for i in images), *(4 for _ in frames)], dtype=np.int64)
    size = {f"{prefix}{name}": np.full(n, side) for prefix in ("", PREFIX) for name, side in _SIZE.items()}
    metadata = {**size, f"{PREFIX}sizeInBytes": np.full(n, 123_456.0)}
    return Candidates(rows, labels, tuple(refs), tuple(f"{i:032x}" for i in range(n)), Annotations(metadata))


def _pictures() -> list[Pixels]:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in _SHAPES]
    flat = [np.full((32, 32, 3), value, dtype=np.uint8) for value in (0, 128, 255)]
    return noise + flat


def _embedded(embedder: Embedder, batch: Array) -> Embeddings:
    return _checked_rows(np.asarray(embedder.embed(batch)), len(batch), embedder)


def _checked_rows(answer: Array, n: int, embedder: Embedder) -> Embeddings:
    """`answer` of `embedder` for `n` pictures or texts, as unit rows."""
    name, wanted = type(embedder).__name__, (n, embedder.dim)
    _require(answer.shape == wanted, name, f"answers shape {answer.shape}, not {wanted}")
    _require(answer.dtype == np.float32, name, f"answers {answer.dtype}, not float32")
    try:
        return unit_rows(answer)
    except ValueError as error:
        raise ContractViolation(f"embedder {name}: {error}") from error


def _unit(rng: np.random.Generator, n: int) -> Embeddings:
    return unit_rows(rng.normal(size=(n, 6)))


def _require(holds: bool, name: str, complaint: str) -> None:
    if not holds:
        raise ContractViolation(f"plugin {name} {complaint}")
