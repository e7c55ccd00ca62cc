"""What is known of a decoded picture, and of a source once its last picture has come.

What crosses processes by the thousand has no slots: frozen classes with slots are pickled several times as slowly.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from lightpool_core.media.source import Kind, Source


@dataclass(frozen=True)
class Picture:
    """What is known of a decoded picture once its pixels are gone."""

    digest: str
    """Of what the embedder looks at: the same digest, the same embedding."""
    width: int
    """Of the original, upright, in pixels."""
    height: int
    index: int | None
    """Position in the video; None for an image."""
    time: float | None
    """Seconds since the video's beginning; None for an image."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """See `media.quality`; empty where nothing was to be measured."""


@dataclass(frozen=True)
class Ending:
    """How a source ended: all its frames counted, sampled or not, and why some are missing, if they are."""

    n_frames: int
    n_decoded: int = 0
    """Of the sampled ones, those that repeat the one before included."""
    reason: str = ""
    readable: bool = True
    """False where the system failed and not the source: another run may fare better."""
    key_frames_only: bool = False
    """True where only key frames were decoded, because all that were to be sampled are key frames."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a video was embedded before."""

    index: int
    """Of the last embedded frame."""
    digest: str
    """Of that frame."""
    n: int = 0
    """Frames that were embedded, those that repeat the one before not counted."""


NOTHING = Reached(-1, "")


@dataclass(frozen=True)
class Task:
    """What one worker decodes in one go: a video, or some images."""

    sources: tuple[Source, ...]
    after: Reached = NOTHING
    """Of a video: what is embedded already."""

    @property
    def errand(self) -> Errand:
        """What the worker has to know of it."""
        return Errand(self.sources[0].kind, tuple(str(source.file) for source in self.sources), self.after)


@dataclass(frozen=True)
class Errand:
    """A task as it crosses processes: pickling sources takes many times as long as what is needed of them."""

    kind: Kind
    """Of all sources."""
    files: tuple[str, ...]
    after: Reached


def tasks_of(
    sources: Sequence[Source],
    n_images: int,
    reached: Mapping[Source, Reached],
    known: Container[Source] = frozenset(),
) -> list[Task]:
    """`sources` as tasks: large videos first, so that none is left for the end; then images, `n_images` at a time.

    Those that are `known` are left out after they were shared out: what lies in one batch stays together.
    """
    videos = sorted((source for source in sources if source.kind == "video"), key=lambda source: -source.size)
    images = [source for source in sources if source.kind == "image"]
    shares = [images[start : start + n_images] for start in range(0, len(images), n_images)]
    left = [tuple(source for source in share if source not in known) for share in shares]
    return [
        *(Task((video,), reached.get(video, NOTHING)) for video in videos if video not in known),
        *(Task(share) for share in left if share),
    ]
