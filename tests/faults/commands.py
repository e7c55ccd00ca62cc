"""Runs commands of lightpool for the harness, one forked process each: importing everything takes seconds, once.

Reads requests as JSON lines: `arguments`, `out` (file for stdout and stderr), `environment`. Answers with two lines,
the process id and, when it has ended, the wait status.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from contextlib import suppress
from importlib import import_module

_NEEDED = (
    "lightpool_cli.app lightpool_core lightpool_core.appending lightpool_core.selecting lightpool_core.opening"
    " lightpool_core.pool.datapool lightpool_plugins.embedders.gist lightpool_plugins.samplers.diversity torch pandas"
    " deltalake deltalake.fs pyarrow.acero pyarrow.dataset pyarrow.parquet pyarrow.csv hnswlib filelock"
    " tomlkit entrypoints configparser numpy.fft rich.progress encodings.ascii"
)


def main() -> None:
    """Serve until there are no more requests."""
    for name in _NEEDED.split():
        import_module(name)
    app = import_module("lightpool_cli.app").app
    with suppress(Exception):  # Typer imports more with the first command
        app(["info", "--pool", os.devnull], standalone_mode=False)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _run(arguments: list[str], out: str, environment: dict[str, str]) -> None:
    from lightpool_cli.app import main as command

    stream = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(stream, number)
    os.environ.update(environment)
    sys.argv = ["lightpool", *arguments]
    if environment:
        ctypes.CDLL(None).cuts_begin()
    code: object = 70
    try:
        command()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
