"""The names under which samples are looked up in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightpool_core.errors import SourceError
from lightpool_core.media.source import SampleRef, video_of


@dataclass(frozen=True, slots=True)
class Asked:
    """N samples that something is asked of."""

    names: tuple[str, ...]
    """As the pool calls them."""
    videos: tuple[str | None, ...]
    """The video that each is a frame of; None for an image."""
    required: bool = True
    """True where a file that knows none of them is the wrong file."""

    @classmethod
    def of(cls, refs: Sequence[SampleRef], *, required: bool = True) -> Asked:
        """The names in `refs`; where nothing but a name is known of a frame, the name tells its video."""
        videos = tuple(video_of(ref.filename) if ref.frame is None else ref.source for ref in refs)
        return cls(tuple(ref.filename for ref in refs), videos, required)

    def __len__(self) -> int:
        return len(self.names)

    def check_known(self, n_known: int, file: Path, theirs: str | None) -> None:
        """Raise SourceError if any are required and `file`, which has for instance `theirs`, knows none of them."""
        if n_known or not self.required or not self.names:
            return
        has = "no names at all" if theirs is None else repr(theirs)
        raise SourceError(
            f"none of the {len(self)} candidates is in {file}: it has {has}, the candidates {self.names[0]!r};"
            " names are paths relative to the input"
        )
