"""What a check of a pool found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

RESTORE = "restore it from a backup"
REPAIR = "--repair makes it again"
COMPLETES = "the next append or --repair completes it or takes it back"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    severity: Literal["damaged", "warning"]
    what: str
    path: Path
    """The file or folder that it is about."""
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.path}: {self.what}; {self.advice}"

    def to_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"severity": self.severity, "what": self.what, "path": str(self.path), "advice": self.advice}


def damaged(path: Path, what: str, advice: str = RESTORE) -> Finding:
    """Something that makes the pool, or a part of it, unusable or wrong."""
    return Finding("damaged", what, path, advice)


def warning(path: Path, what: str, advice: str) -> Finding:
    """Something to know of, with which the pool works."""
    return Finding("warning", what, path, advice)


def said(error: BaseException) -> str:
    """What a library had to say, on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
