"""The run, top to bottom: what is new in the inputs joins the pool if it adds something."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa

from lightpool_core import accounts
from lightpool_core.annotating.attaching import attached
from lightpool_core.annotating.files import AnnotationFiles
from lightpool_core.arrays import Embeddings
from lightpool_core.assembly import Members, embed
from lightpool_core.candidates import Query
from lightpool_core.device import check_device
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.errors import PluginError, PoolExists, SettingsError, SourceError
from lightpool_core.journalling import clear_journals, journal_of, keep_embeddings
from lightpool_core.media.export import Picked, output_folder, write_samples
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.source import Source
from lightpool_core.opening import check_free, create, described, discard, embedder_of, is_pool, opened_for_writing
from lightpool_core.pool import decisions
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.ledger import rows_of
from lightpool_core.pool.lock import Wait
from lightpool_core.pool.runs import Run, journals
from lightpool_core.pool.under_way import under_way
from lightpool_core.progress import SILENT, Progress
from lightpool_core.proposal import Proposal, check_foreseen, choose, is_measured, nothing, stop_for
from lightpool_core.querying import Queried, query_embeddings
from lightpool_core.registry import make
from lightpool_core.report import Problem, Report, SampleCounts, Stopwatch
from lightpool_core.selection.reasons import explain
from lightpool_core.selection.sampler import Sampler
from lightpool_core.selection_config import naming
from lightpool_core.sequences import explain_sequences, write_information
from lightpool_core.settings import SETTINGS_NAME, Overrides, Settings
from lightpool_core.triage import Triage, nothing_known, triage, with_corrupt_copies


@dataclass(frozen=True, slots=True)
class Mode:
    """How a run differs from a plain one."""

    process_all: bool = False
    """Look at sources again that the ledger knows."""
    dry_run: bool = False
    """Choose, and commit nothing."""
    output: str | Path | None = None
    """A folder where the newly chosen samples are written as images."""
    wait: Wait | None = None
    """Told what the run waits for while another one writes to the pool; None raises PoolLocked instead of waiting."""


def append(
    path: str | Path,
    overrides: Overrides | None = None,
    mode: Mode | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Grow the pool in the folder `path` by what is new in its inputs; make it first if there is none.

    `overrides` hold for this run; where they make the pool, they become its settings. Raises LightpoolError
    with nothing changed.
    """
    path, overrides = Path(path), overrides or Overrides()
    with naming(overrides.config, path):
        return _appended(path, overrides, mode or Mode(), progress)


def _appended(path: Path, overrides: Overrides, mode: Mode, progress: Progress) -> Report:
    known = is_pool(path)
    settings = overrides.over(Settings.read(path) if known else Settings())
    check_device(settings.device)
    clock = Stopwatch()
    with clock("listing"):
        sources = listed(settings, path, progress)
    if mode.output:
        output_folder(mode.output)
    run = _Append(path, settings, mode, progress, clock)
    if known:
        return run(sources)
    try:
        return _begun(run, sources)
    except PoolExists:
        if not is_pool(path):
            raise
        return _appended(path, overrides, mode, progress)  # another command has made it meanwhile, with its settings


def _begun(run: _Append, sources: Sequence[Source]) -> Report:
    """The run against a pool that it makes first."""
    path, settings = run.path, run.settings
    check_free(path)
    _ = run.files  # no pool is made with settings that cannot work
    if run.mode.dry_run:
        with tempfile.TemporaryDirectory() as nowhere:
            create(Path(nowhere) / "pool", settings)
            report = dataclasses.replace(run, path=Path(nowhere) / "pool")(sources)
            return dataclasses.replace(report, pool=str(path))
    create(path, settings)
    try:
        return run(sources)
    except (SettingsError, PluginError, SourceError) as error:
        if not journals(path):
            discard(path)
            raise
        advice = f"the embeddings made so far are kept: mend {path / SETTINGS_NAME}, then append again"
        raise type(error)(f"{error}; {advice}") from error


def listed(settings: Settings, path: Path, progress: Progress) -> list[Source]:
    """The sources in the inputs of `settings`. Raises SettingsError where there are no inputs at all."""
    if not settings.inputs:
        raise SettingsError(f'{path} has no inputs; give --input DIR, or write inputs = ["DIR"] into its datapool.toml')
    links = settings.follow_links
    return list_sources(settings.inputs, settings.filenames, follow_links=links, progress=progress)


@dataclass(frozen=True)
class _Append:
    """One run against the pool that lies in the folder `path`."""

    path: Path
    settings: Settings
    mode: Mode
    progress: Progress
    clock: Stopwatch

    def __call__(self, sources: Sequence[Source]) -> Report:
        with opened_for_writing(self.path, self.mode.wait) as pool:
            with self.clock("comparing"):
                # Asked in any case: a ledger that cannot be read must show before anything is done.
                unknown = pool.ledger.unseen(sources)
                unseen = sources if self.mode.process_all else unknown
            embedder = self._embedder(pool, needed=bool(unseen))
            with self.clock("comparing"):
                known = nothing_known if self.mode.process_all else pool.ledger.known
                sorted_out = triage(unseen, known, self.progress)
            run = None if self.mode.dry_run or not unseen else Run.begin(self.path)
            try:
                proposal = self._propose(pool, sorted_out, embedder, run)
                sorted_out = with_corrupt_copies(sorted_out, proposal.outcomes)
                report = self._report(pool, len(sources), sorted_out, proposal)
                self._export(proposal)
            except BaseException:
                if run:
                    run.discard()
                raise
            return self._commit(pool, run, report, proposal, sorted_out) if run else report

    @cached_property
    def files(self) -> AnnotationFiles:
        """What tells of the samples, opened once."""
        return AnnotationFiles.open(self.settings.metadata, self.settings.predictions, self.settings.scores)

    def _embedder(self, pool: Datapool, *, needed: bool) -> Embedder | None:
        """The pool's embedder, verified before any work; None where there is none to do and no other was asked for."""
        other = self.settings.embedder != Settings.read(self.path).embedder
        return embedder_of(pool, self.settings) if needed or other else None

    def _propose(self, pool: Datapool, sorted_out: Triage, embedder: Embedder | None, run: Run | None) -> Proposal:
        """Candidates from the fresh sources, and the sampler's choice among them."""
        sampler = make("sampler", self.settings.sampler, device=self.settings.device)
        measured = is_measured(self.settings, sampler)
        if embedder is None or not sorted_out.fresh:
            return nothing(pool.dim)
        files = self.files  # before pictures are embedded, which may take long
        stop, others = stop_for(self.settings.stop, embedder), journals(self.path)
        with self.clock("embedding"), journal_of(run, embedder, others, measured=measured) as journal:
            check_foreseen(journal, files, sampler, stop)
            queries, members = self._queries(sampler, pool, embedder), Members.of(pool)
            reading = self.settings.reading
            embedding = embed(sorted_out.fresh, members, embedder, journal, reading=reading, progress=self.progress)
        with self.clock("selecting"):
            view, seed = pool.view(device=self.settings.device, locked=True), self.settings.seed
            length = self.settings.sequence_length
            candidates, view = attached(embedding.candidates, view, files)
            embedding = dataclasses.replace(embedding, candidates=candidates)
            candidates = dataclasses.replace(candidates, queries=queries)
            selection = choose(
                candidates, view, sampler, stop, seed=seed, sequence_length=length, progress=self.progress
            )
        return Proposal(embedding, selection, view)

    def _queries(self, sampler: Sampler, pool: Datapool, embedder: Embedder) -> Mapping[Query, Embeddings]:
        """What `sampler` asks to compare candidates with; before they are embedded, which may take long."""
        reading = self.settings.reading
        where = partial(Queried.in_pool, pool, lambda: embedder, reading, locked=True)
        return query_embeddings(sampler, where, self.progress)

    def _export(self, proposal: Proposal) -> None:
        # Before the commit: a folder that cannot be written to must not cost the samples of this run.
        if self.mode.output:
            files = {outcome.source.name: outcome.source.file for outcome in proposal.outcomes}
            refs = proposal.chosen.refs
            write_samples([Picked(r.filename, files[r.source], r.frame) for r in refs], self.mode.output)
            if self.settings.sequence_length:
                write_information(Path(self.mode.output), refs, self.settings.sequence_length)

    def _report(self, pool: Datapool, n_found: int, sorted_out: Triage, proposal: Proposal) -> Report:
        new = [*sorted_out.settled, *proposal.outcomes]
        n_selected = len(proposal.selection.indices)
        stop = stop_for(self.settings.stop, make("embedder", self.settings.embedder))
        return Report(
            pool=str(self.path),
            version=pool.version.number,
            pool_size=len(pool) + n_selected,
            sources=accounts.source_counts(n_found, new),
            samples=SampleCounts(
                decoded=proposal.embedding.n_decoded,
                duplicates=proposal.embedding.n_decoded - len(proposal.candidates),
                candidates=len(proposal.candidates),
                selected=n_selected,
                rejected=len(proposal.candidates) - n_selected,
            ),
            embedder=described(self.settings.embedder),
            sampler=described(self.settings.sampler),
            n_samples=stop.n_samples,
            min_distance=stop.min_distance,
            min_distance_from="settings" if stop == self.settings.stop else "embedder",
            min_seconds=stop.min_seconds,
            max_per=stop.max_per,
            achieved=proposal.selection.achieved,
            dry_run=self.mode.dry_run,
            sequence_length=self.settings.sequence_length,
            corrupt=tuple(Problem(o.source.name, o.reason) for o in new if o.status == "corrupt"),
            cut_short=tuple(Problem(o.source.name, o.reason) for o in new if o.status == "processed" and o.reason),
            pace=accounts.pace(proposal.embedding),
            seconds=self.clock.seconds,
        )

    def _commit(self, pool: Datapool, run: Run, report: Report, proposal: Proposal, sorted_out: Triage) -> Report:
        """Samples first, ledger second, views last: cut anywhere, the next command completes it."""
        seen = [*sorted_out.settled, *sorted_out.unchanged, *proposal.outcomes]
        grows = len(proposal.selection.indices) > 0
        number = pool.version.number + grows
        decided = self._explained(pool, proposal, number)
        run.owe(rows_of(seen, run.name))  # first: a run that owes something and never was committed is taken away
        report = dataclasses.replace(report, run=run.name, version=number)
        run.write(report.to_json(), accounts.filenames(proposal, report, seen))
        run.explain(decided)
        if self.settings.sequence_length:
            write_information(run.folder, proposal.chosen.refs, self.settings.sequence_length)
        if self.settings.keep_embeddings:  # before the commit: cut off after it, they are there
            keep_embeddings(run, proposal.embedding, self.path)
        prunes = grows and not self.settings.keep_history
        with under_way(self.path, prune=number if prunes else None):
            if grows:
                with self.clock("committing"):
                    version = accounts.version(pool, report, run)
                    pool = pool.commit(accounts.rows(proposal, version), version)
            pool.ledger.record_rows(run.owed(), {"number": number, "run": run.name})
            run.write(report.to_json(), {})  # once more, with the seconds of the commit
            run.settle()
            clear_journals(run, proposal.embedding.keys, self.path)
            pool.refresh_csv()
            if prunes:
                pool.prune()
        return report

    def _explained(self, pool: Datapool, proposal: Proposal, number: int) -> pa.Table:
        """Rows of `decisions.parquet`."""
        candidates = proposal.candidates
        if not len(candidates):
            return decisions.SCHEMA.empty_table()
        with self.clock("explaining"):
            selection, view, length = proposal.selection, proposal.pool, self.settings.sequence_length
            device, progress = self.settings.device, self.progress
            if length:
                reasons = explain_sequences(candidates, selection, view, length, device=device, progress=progress)
            else:
                reasons = explain(candidates.embeddings, selection, view, device=device, progress=progress)
            return decisions.rows_of(candidates, reasons, pool, number)
