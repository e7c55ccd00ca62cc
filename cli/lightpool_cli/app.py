"""The `lightpool` command: its subcommands, and the one boundary where errors become messages."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any, NoReturn

import typer

from lightpool_cli import STOPPED, append, check, console, demo, history, info, init, plugins, select
from lightpool_cli.signals import Stopping

# Typer hands on the exceptions of Click, its own copy or the installed one, without naming this base.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="lightpool",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.command()(append.append)
app.command()(select.select)
app.add_typer(history.app, name="history")
app.command()(info.info)
app.command()(check.check)
app.command()(plugins.plugins)
app.command()(demo.demo)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"lightpool {version('lightpool')}")
        raise typer.Exit


@app.callback()
def lightpool(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Grow a datapool from raw images and videos.

    lightpool embeds what is new in your folders, compares it with what was already chosen, keeps only what
    adds something, and remembers all that it has seen.

    Try it:  lightpool demo DIR
    """


def main() -> None:
    """Run the command line: exit 0, 1 for an expected failure in one line, 2 for wrong usage, 130 for Ctrl-C.

    143 for SIGTERM, 129 for SIGHUP.
    """
    with Stopping(STOPPED) as stopping:
        code = _run(stopping)
    sys.exit(code)


def _run(stopping: Stopping) -> int:
    from lightpool_core.errors import LightpoolError, errno_of, failure

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what matters to a user is in the report
    try:
        code = app(standalone_mode=False, prog_name="lightpool")
    except UsageError as error:
        _usage(error)
    except LightpoolError as error:
        _fail(str(error), 1)
    except OSError as error:
        if errno_of(error):
            _fail(f"{error.filename}: {failure(error)}" if error.filename else failure(error), 1)
        if error.filename is None:  # not about a file: a bug, and keeps its traceback
            raise
        _fail(f"{error.filename}: {error.strerror}; check its permissions and the free space", 1)
    except MemoryError as error:
        _fail(f"the memory is not enough: {error or 'none is left'}; free some, or give less at once", 1)
    except (KeyboardInterrupt, typer.Abort):
        stopping.leave()
    if code == 130:  # newer versions of Typer turn Ctrl-C into this themselves
        stopping.leave()
    return code if isinstance(code, int) else 0


def _usage(error: Any) -> NoReturn:
    """Wrong usage; a command that was given nothing at all shows its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        sys.exit(2)
    where = error.ctx.command_path if error.ctx else "lightpool"
    _fail(f"{error.format_message().rstrip('.')}; see: {where} --help", 2)


def _fail(message: str, code: int) -> NoReturn:
    console.say(f"lightpool: {' '.join(message.split())}")
    sys.exit(code)
