"""What a sampler asks to compare candidates with, as embeddings: pictures, members of the pool, texts.

Q: rows of one query. M: named rows. T: texts. D: dimension.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.assembly import Members, embed
from lightpool_core.candidates import Query
from lightpool_core.embedding.embedder import Embedder, embeds_text
from lightpool_core.errors import ContractViolation, LightpoolError, SettingsError, SourceError, SourceNotFound
from lightpool_core.journalling import journal_of
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.runs import kept_journals
from lightpool_core.progress import SILENT, Progress
from lightpool_core.triage import nothing_known, triage


@dataclass(frozen=True, slots=True)
class Named:
    """Rows that a query can name: `filenames` (M,), and `embeddings`, which answers with theirs (M, D)."""

    filenames: Sequence[str]
    embeddings: Callable[[], Embeddings]
    what: str
    """In words, for messages: such as `the pool my_datapool`."""

    @classmethod
    def of(cls, pool: Datapool, *, locked: bool = False) -> Named:
        """The members of `pool`; `locked` says that we hold its lock."""
        return cls(pool.filenames, lambda: pool.view(locked=locked).rows, f"the pool {pool.path}")


@dataclass(frozen=True, slots=True)
class Queried:
    """Where queries find what they name."""

    named: Sequence[Named] = ()
    """The first that knows a name counts."""
    embedder: Callable[[], Embedder] | None = None
    """Asked for only if there is a picture or a text to embed; None where nothing can be embedded."""
    reading: Reading = field(default_factory=Reading)
    journals: Sequence[Path] = ()
    """Embeddings of earlier runs, which need not be made again."""

    @classmethod
    def in_pool(
        cls, pool: Datapool, embedder: Callable[[], Embedder], reading: Reading, *, locked: bool = False
    ) -> Queried:
        """In `pool`; `locked` says that we hold its lock."""
        return cls((Named.of(pool, locked=locked),), embedder, reading, kept_journals(pool.path))


def query_embeddings(
    sampler: Any, queried: Callable[[], Queried], progress: Progress = SILENT
) -> Mapping[Query, Embeddings]:
    """Unit rows (Q, D) for each of the `queries` of `sampler`, which are looked for where `queried` answers.

    One row for each picture, sampled frame, member or text; nothing is kept of them. Raises SettingsError for a
    name that nothing has and for what cannot be embedded here, SourceError for pictures of which none can be used.
    """
    queries: Sequence[Query] = getattr(sampler, "queries", ())
    if not queries:
        return {}
    where = queried()
    found = {query: _of_samples(query, where.named) for query in queries if query.samples}
    rest = [query for query in queries if query not in found]
    return found | (_embedded(rest, where, progress) if rest else {})


def _embedded(queries: Sequence[Query], where: Queried, progress: Progress) -> dict[Query, Embeddings]:
    """Those of pictures and texts."""
    if where.embedder is None:
        what = f"the pictures {queries[0].images}" if queries[0].images else f"the text {queries[0].text!r}"
        raise SettingsError(
            f"{queries[0].place}: {what} cannot be embedded, for a file of embeddings has no embedder;"
            " name samples of the file, or select with --pool or --input"
        )
    embedder = where.embedder()
    texts = [query for query in queries if not query.images]
    rows = _of_texts(texts, embedder) if texts else ()
    found = {query: row[None] for query, row in zip(texts, rows, strict=True)}
    pictures = (query for query in queries if query.images)
    return found | {query: _of_pictures(query, embedder, where, progress) for query in pictures}


def _of_samples(query: Query, known: Sequence[Named]) -> Embeddings:
    wanted, rows = set(query.samples), dict[str, Embeddings]()
    for each in reversed(known):
        places = {name: row for row, name in enumerate(each.filenames) if name in wanted}
        if places:
            found = each.embeddings()[list(places.values())]
            rows |= zip(places, found, strict=True)
    missing = next((name for name in query.samples if name not in rows), None)
    if missing is not None:
        raise SettingsError(f"{query.place}: {_unknown(missing, known)}")
    return np.stack([rows[name] for name in query.samples])


def _unknown(name: str, known: Sequence[Named]) -> str:
    if not known:
        return f"there is no pool that could hold the sample {name!r}; give --pool DIR, or query by images"
    where = " nor in ".join(f"{each.what}, which has {len(each.filenames)} samples" for each in known)
    close = difflib.get_close_matches(name, [other for each in known for other in each.filenames], n=1)
    hint = f"did you mean {close[0]}?" if close else "give names as datapool_latest.csv has them"
    return f"the sample {name!r} is not in {where}; {hint}"


def _of_texts(queries: Sequence[Query], embedder: Embedder) -> Embeddings:
    """(T, D) unit rows."""
    name = type(embedder).__name__
    if not embeds_text(embedder):
        raise SettingsError(
            f"{queries[0].place}: embedder {name} cannot embed the text {queries[0].text!r};"
            " query by images or samples, or make a pool with an embedder that understands text: --embedder open-clip"
        )
    try:
        answer = np.asarray(embedder.embed_text([query.text for query in queries]))
    except LightpoolError as error:  # weights that are gone, or are others
        raise type(error)(f"{queries[0].place}: {error}") from error
    wanted = (len(queries), embedder.dim)
    if answer.shape != wanted or answer.dtype != np.float32:
        raise ContractViolation(
            f"embedder {name} answers {answer.dtype} {answer.shape} for texts, not float32 {wanted}"
        )
    try:
        return unit_rows(answer)
    except ValueError as error:
        raise ContractViolation(f"embedder {name} answers zero or not finite numbers for a text") from error


def _of_pictures(query: Query, embedder: Embedder, where: Queried, progress: Progress) -> Embeddings:
    """(Q, D) of all that can be decoded in a folder, an image or a video; broken files are passed over."""
    try:
        sources = list_sources([Path(query.images)], progress=progress)
    except SourceNotFound as error:
        raise SourceNotFound(f"{query.place}: {error}") from error
    fresh = triage(sources, nothing_known, progress).fresh
    with journal_of(None, embedder, where.journals) as journal:
        made = embed(fresh, Members(), embedder, journal, reading=where.reading, progress=progress)
        rows = np.array(made.candidates.embeddings)  # a copy: the journal goes, with what it keeps in a file
    if not len(rows):
        reason = next((outcome.reason for outcome in made.outcomes if outcome.reason), "cannot be read")
        raise SourceError(
            f"{query.place}: none of {len(sources)} files in {query.images} can be decoded"
            f" ({sources[0].name}: {reason})"
        )
    return rows
