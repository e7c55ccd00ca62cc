"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Stage(Protocol):
    """One step of a run, used as a context manager."""

    def __enter__(self) -> Stage: ...

    def __exit__(self, *exc: object) -> None: ...

    def advance(self, n: float = 1) -> None:
        """`n` more units are done, or a part of one."""

    def note(self, text: str) -> None:
        """A word on how it goes, in place of the one before."""


class Progress(Protocol):
    """Where stages are announced; `lightpool_cli.console` draws them."""

    def stage(self, name: str, total: int | None = None) -> Stage:
        """A new stage called `name` of `total` units; None where nobody knows how many."""


class _SilentStage:
    def __enter__(self) -> _SilentStage:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def advance(self, n: float = 1) -> None:
        return None

    def note(self, text: str) -> None:
        return None


class _SilentProgress:
    def stage(self, name: str, total: int | None = None) -> Stage:
        return _SilentStage()


SILENT: Progress = _SilentProgress()
