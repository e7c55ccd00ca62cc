"""Where a run writes embeddings down, and what becomes of that once the run is complete."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lightpool_core.assembly import Embedding
from lightpool_core.embedding.embedder import Embedder, precision_of
from lightpool_core.embedding.journal import Journal, Maker, keys_in
from lightpool_core.pool.runs import Run, kept_journals, newest_first


@contextmanager
def journal_of(
    run: Run | None, embedder: Embedder, others: Sequence[Path] = (), *, measured: bool = False
) -> Iterator[Journal]:
    """The journal of `run`, or without one a journal that leaves nothing behind; it goes on with `others`.

    `measured` says that pictures are to be measured as well.
    """
    maker = Maker(embedder.fingerprint, precision_of(embedder), embedder.dim, measured)
    if run:
        yield Journal(run.journal, maker, others)
        return
    with tempfile.TemporaryDirectory(prefix="lightpool-") as nowhere:
        yield Journal(Path(nowhere) / "journal", maker, others)


def keep_embeddings(run: Run, embedding: Embedding, pool: Path) -> None:
    """Keep what came out of the sources of `run`, as far as no earlier run kept it."""
    if embedding.journal is None:
        return
    maker = embedding.journal.maker
    news = embedding.keys.difference(*(keys_in(kept, maker) for kept in kept_journals(pool)))
    if news:
        embedding.journal.keep(run.embeddings, news)


def clear_journals(run: Run, keys: frozenset[str], pool: Path) -> None:
    """Take away the journal of `run`, and those of runs that were cut off where they know nothing beyond `keys`."""
    run.clear()
    for other in newest_first(pool):
        if not other.is_reported and keys_in(other.journal) <= keys:
            other.clear()
            other.discard()
