from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.assembly import Embedding, Members, embed
from lightpool_core.embedding.embedder import precision_of
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reading import Reading
from lightpool_core.triage import nothing_known, triage
from tests.touchy import BATCH, CRASH, Touchy, film, image, noted, plain, scene


class Cut(Journal):
    """A journal whose run is stopped when it wants to write down one batch more."""

    left = 0

    def add(self, *batch: Any) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().add(*batch)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Ten images, a video of ten frames, and a video of eight whose fourth repeats the third."""
    for seed in range(10):
        image(tmp_path / "in" / f"{seed:03}.png", scene(seed))
    film(tmp_path / "in" / "long.mkv", [scene(seed) for seed in range(20, 30)])
    film(tmp_path / "in" / "still.mkv", [scene(seed) for seed in (40, 41, 42, 42, 43, 44, 45, 46)])
    return tmp_path / "in"


N_PICTURES = 10 + 10 + 7


def run(inbox: Path, folder: Path, others: Sequence[Path] = (), batches: int = 1000, **how: Any) -> Embedding:
    """Embed all that is in `inbox`, unless it is cut off after a number of `batches`."""
    embedder = how.pop("embedder", None) or Touchy(log=str(inbox.parent))
    maker = Maker(embedder.fingerprint, precision_of(embedder), embedder.dim, how.pop("measure", False))
    journal = Cut(folder, maker, others)
    journal.left = batches
    fresh = triage(list_sources([inbox]), nothing_known).fresh
    return embed(fresh, Members(), embedder, journal, reading=Reading(timeout=10, **how))


def cut_off(inbox: Path, folder: Path, others: Sequence[Path] = (), batches: int = 1, **how: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(inbox, folder, others, batches, **how)


def assert_same(one: Embedding, other: Embedding) -> None:
    assert one.candidates.refs == other.candidates.refs
    assert one.candidates.digests == other.candidates.digests
    np.testing.assert_array_equal(one.candidates.embeddings, other.candidates.embeddings)
    known, wanted = (embedding.candidates.annotations.metadata for embedding in (one, other))
    assert {key: column.tolist() for key, column in known.items()} == {k: c.tolist() for k, c in wanted.items()}
    assert one.outcomes == other.outcomes
    assert one.n_decoded == other.n_decoded


def embedded_again(log: Path) -> int:
    return sum(n - 1 for n in Counter(noted(log)).values())


@pytest.mark.parametrize("batches", [0, 1, 7])
def test_a_run_that_was_cut_off_is_gone_on_with(batches: int, inbox: Path, tmp_path: Path) -> None:
    cut_off(inbox, tmp_path / "first", batches=batches)
    resumed = run(inbox, tmp_path / "second", [tmp_path / "first"])
    assert len(noted(tmp_path)) == N_PICTURES + embedded_again(tmp_path)
    assert embedded_again(tmp_path) <= BATCH
    assert (resumed.n_known > 0) == (batches > 0)
    assert_same(resumed, run(inbox, tmp_path / "third"))


def runs_of_one_batch(inbox: Path, folder: Path) -> Iterator[Path]:
    """Runs that are cut off after one batch each, until one of them has nothing left to do."""
    journals: list[Path] = []
    while True:
        journals.append(folder / str(len(journals)))
        try:
            run(inbox, journals[-1], journals[:-1], batches=1)
        except KeyboardInterrupt:
            yield journals[-1]
        else:
            return


def test_a_run_that_is_cut_off_after_every_batch_comes_to_its_end(inbox: Path, tmp_path: Path) -> None:
    journals = list(runs_of_one_batch(inbox, tmp_path / "journals"))
    assert len(journals) == 3 + 3 + 2 - 1  # the last one is not cut off
    assert embedded_again(tmp_path) <= BATCH * len(journals)
    n_embedded = len(noted(tmp_path))
    resumed = run(inbox, tmp_path / "last", [*journals, tmp_path / "journals" / str(len(journals))], batches=0)
    assert len(noted(tmp_path)) == n_embedded
    assert resumed.n_known == N_PICTURES
    assert_same(resumed, run(inbox, tmp_path / "whole"))


def test_where_nothing_is_left_to_do_nothing_is_decoded(inbox: Path, tmp_path: Path) -> None:
    first = run(inbox, tmp_path / "first")
    before = noted(tmp_path, "prepared"), noted(tmp_path)
    again = run(inbox, tmp_path / "second", [tmp_path / "first"])
    assert (noted(tmp_path, "prepared"), noted(tmp_path)) == before
    assert_same(again, first)


def test_frames_sampled_at_another_rate_are_not_taken_for_those_asked_for(inbox: Path, tmp_path: Path) -> None:
    cut_off(inbox, tmp_path / "first", batches=3)
    slow = run(inbox, tmp_path / "second", [tmp_path / "first"], fps=5.0)
    assert_same(slow, run(inbox, tmp_path / "third", fps=5.0))
    fast = run(inbox, tmp_path / "fourth", [tmp_path / "first", tmp_path / "second"])
    assert_same(fast, run(inbox, tmp_path / "fifth"))


@pytest.mark.parametrize("batches", [1, 5])
def test_what_was_measured_is_gone_on_with_as_well(batches: int, inbox: Path, tmp_path: Path) -> None:
    cut_off(inbox, tmp_path / "first", batches=batches, measure=True)
    resumed = run(inbox, tmp_path / "second", [tmp_path / "first"], measure=True)
    assert embedded_again(tmp_path) <= BATCH
    assert resumed.n_known > 0
    assert_same(resumed, run(inbox, tmp_path / "third", measure=True))


@pytest.mark.parametrize("measure", [True, False])
def test_what_was_embedded_without_measuring_is_not_taken_where_it_is_done_nor_the_other_way(
    measure: bool, inbox: Path, tmp_path: Path
) -> None:
    run(inbox, tmp_path / "first", measure=not measure)
    again = run(inbox, tmp_path / "second", [tmp_path / "first"], measure=measure)
    assert again.n_known == 0
    assert ("lightly.sharpness" in again.candidates.annotations.metadata) == measure


def test_what_another_embedder_made_is_not_taken(inbox: Path, tmp_path: Path) -> None:
    run(inbox, tmp_path / "first")
    other = Touchy(log=str(tmp_path), fingerprint="touchy-2")
    assert run(inbox, tmp_path / "second", [tmp_path / "first"], embedder=other).n_known == 0
    assert len(noted(tmp_path)) == 2 * N_PICTURES


def test_a_video_whose_decoder_dies_is_worth_the_same_after_a_run_that_was_cut_off(tmp_path: Path) -> None:
    film(tmp_path / "in" / "bad.mkv", [*map(scene, range(2 * BATCH + 1)), plain(CRASH)])
    whole = run(tmp_path / "in", tmp_path / "whole")
    assert [(outcome.status, outcome.samples) for outcome in whole.outcomes] == [("processed", 2 * BATCH)]
    cut_off(tmp_path / "in", tmp_path / "first", batches=2)
    assert_same(run(tmp_path / "in", tmp_path / "second", [tmp_path / "first"]), whole)
