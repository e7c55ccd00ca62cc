"""Which frames of a video are taken: a rule, said once to ffmpeg and once to us."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import groupby

MICROSECONDS = 1_000_000
# Matroska and FLV round times to a millisecond; without it, fps=30 would lose frames of a 30 fps video.
_ROUNDING = 500
_MAX_RUNS = 200  # of indices; with more, the expression takes ffmpeg longer than the pictures between


@dataclass(frozen=True)
class Rule:
    """Which frames come as pictures, said twice."""

    expression: str
    """To ffmpeg's select filter, where pts counts microseconds; empty where it need not be asked."""
    takes: Callable[[int, int], bool]
    """To us: asked once about each frame, in order, with its index and the microseconds since the first."""


def every_frame() -> Rule:
    """All of them."""
    return Rule("", lambda *_: True)


def per_second(fps: float) -> Rule:
    """The first frame in each slot of 1/fps seconds.

    Both sides compute in doubles, in the same order, from the same integers: they cannot disagree.
    """
    slot = f"floor(({{}}-start_pts+{_ROUNDING})*{fps!r}/{MICROSECONDS})"
    now, before = slot.format("pts"), slot.format("prev_selected_pts")
    last = -1

    def takes(_: int, micros: int) -> bool:
        nonlocal last
        reached = math.floor((micros + _ROUNDING) * fps / MICROSECONDS)
        last, before = max(reached, last), last
        return reached > before

    return Rule(f"isnan(prev_selected_pts)+gt({now},{before})", takes)


def listed(indices: Collection[int]) -> Rule:
    """Frames by index; all from the first to the last of them where those are too many to name."""
    # The difference between index and rank is constant along a run of consecutive indices.
    ranked = groupby(enumerate(sorted(indices)), key=lambda pair: pair[1] - pair[0])
    runs = [[index for _, index in run] for _, run in ranked]
    spans = [range(run[0], run[-1] + 1) for run in runs]
    if len(spans) > _MAX_RUNS:
        spans = [range(spans[0].start, spans[-1].stop)]
    expression = "+".join(f"between(n,{span.start},{span.stop - 1})" for span in spans)
    return Rule(expression, lambda index, _: any(index in span for span in spans))
