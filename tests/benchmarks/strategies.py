"""What each strategy chooses from a long-tailed set, against lightly-mundig with the same strategies.

    python tests/benchmarks/strategies.py DATA [--n-samples 60] [--embedder gist]

DATA is a folder with `images/<class>/`. Of its classes the first keeps all its pictures and each further one fewer,
down to a twentieth. For as many picks each: how many classes are covered, the share of the rarer half of the classes,
how far any candidate is from the nearest pick (radius), and how far on average.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lightpool_core.arrays import Rows
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.pipeline import embed_sources
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import SampleRef, Source
from lightpool_core.registry import make
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from lightpool_core.settings import PluginChoice

_TAIL = 20
_SEEDS = 20
_DIVERSITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
_BALANCE = {
    "input": {"type": "METADATA", "key": "label"},
    "strategy": {"type": "BALANCE", "distribution": "UNIFORM"},
}
_TYPICALITY = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "TYPICALITY", "num_nearest_neighbors": 20}}


def long_tail(folder: Path) -> list[Source]:
    """Ever fewer pictures of one class after the other."""
    by_class: dict[str, list[Source]] = {}
    for source in list_sources([folder]):
        by_class.setdefault(source.label_name, []).append(source)
    steps = _TAIL ** -(np.arange(len(by_class)) / (len(by_class) - 1))
    shares = zip(by_class.values(), steps, strict=True)
    return [source for sources, share in shares for source in sources[: max(1, round(len(sources) * share))]]


def embedded(sources: list[Source], choice: PluginChoice) -> Candidates:
    """The pictures as candidates, labelled by class."""
    embedder = make("embedder", choice)
    with tempfile.TemporaryDirectory() as place:
        journal = Journal(Path(place) / "journal", Maker(embedder.fingerprint, "", embedder.dim))
        embed_sources({source.name: source for source in sources}, embedder, journal, reading=Reading())
        entries = journal.entries([source.name for source in sources]).pictures
        embeddings = journal.embeddings(entries["part"].to_numpy(), entries["row"].to_numpy())
    order = np.argsort(np.array(entries["source"].to_pylist()))
    names = sorted({source.label_name for source in sources})
    by_name = {source.name: source for source in sources}
    rows = [by_name[entries["source"][int(row)].as_py()] for row in order]
    labels = np.array([names.index(source.label_name) for source in rows])
    refs = tuple(SampleRef(source.name, source.name) for source in rows)
    return Candidates(np.array(embeddings[order]), labels, refs)


def ours(candidates: Candidates, n: int, sampler: str, strategies: list[object]) -> Rows:
    """The picks of lightpool."""
    options = {"strategies": strategies} if strategies else {}
    empty = ArrayView(np.empty((0, candidates.embeddings.shape[1]), np.float32))
    chosen = make("sampler", PluginChoice(sampler, options)).select(
        candidates, empty, Stop(n_samples=n), np.random.default_rng(0)
    )
    return np.asarray(chosen.indices)


def theirs(candidates: Candidates, n: int, *strategies: str) -> Rows:
    """The picks of lightly-mundig by `diversity`, `balance` and `typicality`."""
    from lightly_mundig import Selection, Typicality

    selection, vectors = Selection(), candidates.embeddings.tolist()
    if "diversity" in strategies:
        selection.add_diversifying_strategy(vectors, 1.0, None)
    if "balance" in strategies:
        n_classes = int(candidates.labels.max()) + 1
        classes = np.eye(n_classes)[candidates.labels].tolist()
        selection.add_balancing_strategy(classes, [1 / n_classes] * n_classes, 1.0)
    if "typicality" in strategies:
        selection.add_weighting_strategy(Typicality(vectors).calculate_typicality(20), 1.0)
    return np.array(selection.run_selection([], len(vectors), n))


def row(name: str, candidates: Candidates, picks: list[Rows]) -> str:
    """One row of the table; several picks are averaged."""
    sizes = np.bincount(candidates.labels)
    rare = np.argsort(sizes, kind="stable")[: len(sizes) // 2]
    values = []
    for chosen in picks:
        labels = candidates.labels[chosen]
        distances, _ = ArrayView(candidates.embeddings[chosen]).nearest(candidates.embeddings)
        values.append([len(np.unique(labels)), np.isin(labels, rare).mean(), distances.max(), distances.mean()])
    covered, share, radius, mean = np.mean(values, axis=0)
    return f"| {name} | {covered:.3g} of {len(sizes)} | {share:.2f} | {radius:.3f} | {mean:.3f} |"


def rows(candidates: Candidates, n: int) -> Iterator[str]:
    """The table."""
    rng = np.random.default_rng(0)
    yield row("random", candidates, [rng.permutation(len(candidates))[:n] for _ in range(_SEEDS)])
    cases: dict[str, tuple[str, list[object]]] = {
        "diversity": ("diversity", []),
        "diversity + balance": ("combined", [_DIVERSITY, _BALANCE]),
        "typicality": ("combined", [_TYPICALITY]),
        "diversity + typicality": ("combined", [_DIVERSITY, _TYPICALITY]),
    }
    for name, (sampler, strategies) in cases.items():
        yield row(name, candidates, [ours(candidates, n, sampler, strategies)])
        yield row(f"{name}, lightly-mundig", candidates, [theirs(candidates, n, *name.split(" + "))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--n-samples", type=int, default=60)
    parser.add_argument("--embedder", default="gist")
    parser.add_argument("-e", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    choice = PluginChoice(given.embedder, dict(option.split("=", 1) for option in given.e))
    candidates = embedded(long_tail(given.data / "images"), choice)
    print(f"{len(candidates)} photos of {np.bincount(candidates.labels).tolist()}, {given.n_samples} picks\n")
    print("| strategy | classes | share of the rarer half | radius | mean distance |\n|---|---|---|---|---|")
    for line in rows(candidates, given.n_samples):
        print(line, flush=True)


if __name__ == "__main__":
    main()
