"""What ffmpeg says beside the pictures, line by line as it comes: times of frames, and complaints."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from lightpool_core.media.sampling import Rule


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a picked frame stands in the video."""

    index: int
    micros: int
    """Since the first frame."""


class Lines:
    """Keeps the first few lines, for the cause comes first."""

    def __init__(self, n_kept: int) -> None:
        self.kept: list[bytes] = []
        self._n_kept = n_kept
        self._begun = b""

    def take(self, said: bytes) -> bool:
        """Take down what came; False where nothing will come any more. A line without its end is none, until then."""
        lines = (self._begun + said).split(b"\n")
        self._begun = lines.pop()
        for line in lines if said else [*lines, self._begun]:
            self._line(line)
        return bool(said)

    def _line(self, line: bytes) -> None:
        if line and len(self.kept) < self._n_kept:
            self.kept.append(line)


class Times(Lines):
    """The times of decoded frames (framecrc), and which of them a rule takes."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(0)
        self.n_frames = 0
        self.size = (0, 0)
        """Width and height of the first frame."""
        self.picked: deque[Moment] = deque()
        self._rule = rule
        self.start: int | None = None
        """When the first frame is shown, in microseconds."""

    def take(self, said: bytes) -> bool:
        """As above; what a dying ffmpeg began and did not end is no time."""
        if not said:
            self._begun = b""
        return super().take(said)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"#dimensions 0:"):
            width, _, height = line.split()[2].partition(b"x")
            self.size = (int(width), int(height))
        if not line or line.startswith(b"#"):
            return
        pts = int(line.split(b",", 3)[2])
        self.start = pts if self.start is None else self.start
        if self._rule.takes(self.n_frames, pts - self.start):
            self.picked.append(Moment(self.n_frames, pts - self.start))
        self.n_frames += 1
