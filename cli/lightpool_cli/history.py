"""`lightpool history` and its commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lightpool_cli import console, options

if TYPE_CHECKING:
    from lightpool_core import Decision, Version

app = typer.Typer(
    no_args_is_help=True, help="The versions of a datapool: list, show, compare, go back.", rich_markup_mode=None
)

_Number = Annotated[
    str, typer.Argument(metavar="N", help="Number of a version.", autocompletion=options.version_numbers)
]
_A = Annotated[str, typer.Argument(metavar="A", help="The older one.", autocompletion=options.version_numbers)]
_B = Annotated[str, typer.Argument(metavar="B", help="The newer one.", autocompletion=options.version_numbers)]
_Filenames = Annotated[bool, typer.Option("--filenames", help="Print filenames, one per line.")]
_Why = Annotated[
    str | None,
    typer.Option(metavar="FILENAME", help="Tell why this file or frame is in the version, or why it is not."),
]


@app.command("list")
def list_versions(pool: options.Pool, json: options.Json = False) -> None:
    """List the versions that can be restored, oldest first.

    \b
    Example:
      lightpool history list --pool my_datapool
    """
    from lightpool_core import Datapool

    versions = Datapool.open(pool).history()
    if json:
        console.json_result([version.to_note() for version in versions])
        return
    rows = [(v.number, f"{v.time:%Y-%m-%d %H:%M:%S}", v.samples, f"{v.added:+}", what(v)) for v in versions]
    console.table(("version", "date (UTC)", "samples", "added", "what"), rows)


@app.command()
def show(
    number: _Number,
    pool: options.Pool,
    filenames: _Filenames = False,
    why: _Why = None,
    json: options.Json = False,
) -> None:
    """Show one version, the names of its samples, or why one file is among them or is not.

    A file is named as the pool names it: by its path relative to the input; a frame as in datapool_latest.csv.

    \b
    Examples:
      lightpool history show 2 --pool my_datapool
      lightpool history show 2 --pool my_datapool --filenames
      lightpool history show 2 --pool my_datapool --why cars/0017.jpg
    """
    from lightpool_core import Datapool
    from lightpool_core.errors import SettingsError
    from lightpool_core.media.names import from_line
    from lightpool_core.media.source import readable

    if filenames and why is not None:
        raise SettingsError("--filenames tells all names, --why the reason of one; give one of them")
    datapool = Datapool.open(pool, options.whole_number("version", number))
    version = datapool.version
    if why is not None:
        decision = datapool.why(readable(from_line(why) if why.startswith('"') else why))
        console.json_result(decision.to_dict()) if json else console.lines([told(decision)])
    elif filenames:
        names = datapool.filenames
        console.json_result(names) if json else console.names(names)
    elif json:
        console.json_result(version.to_note())
    else:
        console.pairs(
            [
                ("version", version.number),
                ("date", f"{version.time:%Y-%m-%d %H:%M:%S} UTC"),
                ("samples", version.samples),
                ("added", f"{version.added:+}"),
                ("what", what(version)),
                ("run", f"{pool}/runs/{version.run}" if version.run else None),
            ]
        )


@app.command()
def diff(a: _A, b: _B, pool: options.Pool, json: options.Json = False) -> None:
    """Print what changed between two versions.

    From A to B, '+ name' for a sample that joined, '- name' for one that left.

    \b
    Example:
      lightpool history diff 1 2 --pool my_datapool
    """
    from lightpool_core import Datapool

    before = Datapool.open(pool, options.whole_number("version", a))
    joined, left = Datapool.open(pool, options.whole_number("version", b)).changes_since(before)
    if json:
        console.json_result({"joined": joined, "left": left})
    else:
        console.names(joined, "+ ")
        console.names(left, "- ")


@app.command()
def restore(number: _Number, pool: options.Pool, no_wait: options.NoWait = False) -> None:
    """Make a new version equal to version N; no version is lost by it.

    What was processed after version N counts as new again: the next append looks at it.

    \b
    Example:
      lightpool history restore 1 --pool my_datapool
    """
    from lightpool_core import Datapool
    from lightpool_core.pool.repair import recover

    old = options.whole_number("version", number)
    wait = None if no_wait else console.waiting()
    recover(pool, wait)
    restored = Datapool.open(pool).restore(old, wait)
    if restored.version.number == old:
        console.lines([f"version {old} is the newest already: nothing to do"])
    else:
        console.lines([f"version {restored.version.number} is now equal to version {number}: {len(restored)} samples"])


def what(version: Version) -> str:
    """In a few words, what made a version."""
    if version.event == "restore":
        return f"restored version {version.restored}"
    if version.event == "append" and version.counts:
        sources, candidates = version.counts["sources"]["new"], version.counts["samples"]["candidates"]
        return f"append: {sources} new source{'s' if sources != 1 else ''}, {candidates} candidates"
    return version.event


def told(decision: Decision) -> str:
    """A decision as one sentence."""
    name = decision.filename
    if decision.decision == "selected":
        near = "the first of an empty pool"
        if decision.distance is not None:
            near = f"{_rounded(decision.distance)} from the nearest kept at that moment"
        how = f"chosen with its sequence, which begins with {decision.sequence}," if decision.sequence else "chosen"
        return f"{name}: {how} as number {decision.rank} of {decision.of} in version {decision.joined}, {near}"
    if decision.because == "sequence":
        return f"{name}: not chosen: it is in no whole sequence of {decision.sequence_length} frames"
    if decision.decision == "rejected":
        near = "nothing was kept"
        if decision.distance is not None:
            where = f"kept in version {decision.nearest_version}"
            its = f"its sequence, which begins with {decision.sequence}, is " if decision.sequence else ""
            near = f"{its}{_rounded(decision.distance)} from {decision.nearest}, {where}"
        return f"{name}: not chosen: {near}; {_because(decision)}"
    if decision.decision == "processed":
        return f"{name}: {decision.reason}"
    return f"{name}: no candidate: {decision.decision}, {decision.reason}"


def _because(decision: Decision) -> str:
    if decision.because == "min_distance":
        return f"min_distance was {decision.min_distance:g}"
    if decision.because == "n_samples":
        return f"n_samples was {decision.n_samples}, and {decision.of} were chosen before it"
    return f"the sampler {decision.sampler} left it out"


def _rounded(distance: float) -> str:
    # Down: what was rejected for being too close must not look as if it were not.
    return f"{int(distance * 10_000) / 10_000:g}"
