"""The only place that draws: progress on stderr, results on stdout.

Names and reasons come from files that anybody may have made: what a terminal would obey or hide is shown as escapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from rich.text import Text

    from lightpool_core.progress import Progress, Stage
    from lightpool_core.report import Achieved

_CLASSES_SHOWN = 10


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """Bars on stderr while the block runs; nothing where `quiet`, or where stderr is no terminal."""
    from rich.console import Console

    from lightpool_core.progress import SILENT

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield SILENT
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:>10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Bars(*columns, console=console) as bars:
        yield _Drawn(bars)


def waiting(quiet: bool = False) -> Callable[[str], None]:
    """What says on stderr what a command waits for; nothing where `quiet`."""
    return (lambda _: None) if quiet else (lambda told: say(f"lightpool: {told}"))


def say(text: str) -> None:
    """A line on stderr."""
    import typer

    from lightpool_core.media.names import shown

    typer.echo(shown(text), err=True)


def lines(values: Iterable[object]) -> None:
    """One value per line on stdout."""
    import typer

    from lightpool_core.media.names import shown

    for value in values:
        typer.echo(shown(str(value)))


def names(values: Iterable[str], lead: str = "") -> None:
    """One name per line on stdout, after `lead`, as `--filenames` reads them."""
    from lightpool_core.media.names import as_line

    lines(f"{lead}{as_line(name)}" for name in values)


def json_result(value: Any) -> None:
    """One JSON value on stdout."""
    import json

    json_text(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def json_text(text: str) -> None:
    """JSON on stdout: the true values, whatever is in them."""
    import typer

    from lightpool_core.media.names import json_shown

    typer.echo(json_shown(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table on stdout, of plain values, lists of lines, and bars; folds long values instead of cutting them."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    Console().print(drawn)


def bar(value: float, total: float) -> RenderableType:
    """A bar for a table, as long a part of its column as `value` is of `total`."""
    from rich.bar import Bar
    from rich.console import Console
    from rich.progress_bar import ProgressBar

    # What rich calls a bar cannot be written in ASCII.
    return ProgressBar(total, value) if Console().options.ascii_only else Bar(total, 0, value)


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns on stdout; a list is a line for each."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        drawn.add_row(_plain(name), _plain(value))
    Console().print(drawn)


def achieved(objectives: Iterable[Achieved], all_of_it: str) -> Iterator[tuple[str, str]]:
    """What became of each objective, as names and values; of many classes the largest, and where `all_of_it` is."""
    name = "achieved"
    for one in objectives:
        numbers = [f"{key} {one.values[key]:.3g}{_wanted(one.targets, key)}" for key in _largest(one)]
        if len(one.values) > len(numbers):
            numbers.append(f"and {len(one.values) - len(numbers)} more, {all_of_it}")
        yield name, f"{one.objective}: {', '.join(numbers)}"
        name = ""


def _largest(one: Achieved) -> Sequence[str]:
    """The names of what is shown: all, or where there are many those with the largest values or targets."""
    names = list(one.values)
    if len(names) <= _CLASSES_SHOWN:
        return names
    return sorted(names, key=lambda key: -max(one.values[key], one.targets.get(key, 0.0)))[:_CLASSES_SHOWN]


def _wanted(targets: Mapping[str, float], key: str) -> str:
    return f" (target {targets[key]:.3g})" if key in targets else ""


def _cell(value: object) -> RenderableType:
    from rich.console import ConsoleRenderable

    return value if isinstance(value, ConsoleRenderable) else _plain(value)


def _plain(value: object) -> Text:
    from rich.text import Text

    from lightpool_core.media.names import shown

    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return Text("\n".join(shown(str(each)) for each in values))  # no text with markup: there, :car: is a picture


class _Drawn:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def stage(self, name: str, total: int | None = None) -> Stage:
        return _DrawnStage(self._bars, self._bars.add_task(name, total=total, rate="", note=""))


class _DrawnStage:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def __enter__(self) -> _DrawnStage:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, n: float = 1) -> None:
        self._bars.advance(self._task, n)
        speed = next(task.speed for task in self._bars.tasks if task.id == self._task)
        self._bars.update(self._task, rate=f"{speed:.0f}/s" if speed else "")

    def note(self, text: str) -> None:
        self._bars.update(self._task, note=text)
