"""Ours and the peers take turns in one process, and each meeting ends as a row of the table."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from selection_peers import synchronised

PATIENCE = 60.0
"""Seconds; a peer that takes longer runs once."""
DISTURBED = 0.1
"""Cores that other processes may take meanwhile; beyond, a row is marked."""


@dataclass(frozen=True)
class Settings:
    """Where the data is kept, how often everything runs, and on what."""

    work: Path
    runs: int
    device: str


@dataclass(frozen=True)
class Row:
    """One line of the table: ours against a peer or a limit of the machine.

    `ratio` is how many times theirs is ours, between `least` and `most` in single runs; `product` and `passed`
    how many times the bare product, and one pass over memory, fit into ours; `own_product` the product of
    what ours says that it multiplied. `others` is how many cores other processes kept busy meanwhile: code of
    many short parallel parts, as the torch greedy, is then slowed down twentyfold, other code by half.
    """

    case: str
    ours: float
    against: str
    theirs: float
    ratio: float
    least: float
    most: float
    runs: str
    ok: bool
    check: str
    others: float | None = None
    unit: str = "s"
    product: float | None = None
    own_product: float | None = None
    passed: float | None = None


@dataclass(frozen=True)
class Peer:
    """Somebody else's way; `call` is told our answer, for the first pick. `prepare` is not timed."""

    name: str
    call: Callable[[Any], Any]
    prepare: Callable[[], object] = lambda: None


@dataclass
class Trials:
    """Seconds of each run, and the answers of the last."""

    seconds: list[float] = field(default_factory=list)
    answer: Any = None

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass
class Contest:
    """What came of it: our trials and each peer's, by name, and whether our answer was always the same."""

    ours: Trials = field(default_factory=Trials)
    peers: dict[str, Trials] = field(default_factory=dict)
    repeats: bool = True
    others: float | None = None

    def row(self, case: str, peer: str, ok: bool, check: str, **limits: float | None) -> Row:
        """Ours against `peer`; ratios are of neighbouring runs, or of the medians where the peer ran once."""
        theirs = self.peers[peer].seconds
        if len(theirs) == len(self.ours.seconds):
            ratios = [b / a for a, b in zip(self.ours.seconds, theirs, strict=True)]
        else:
            ratios = [theirs[0] / seconds for seconds in self.ours.seconds]
        runs = f"{len(self.ours.seconds)} : {len(theirs)}"
        if not self.repeats:
            ok, check = False, f"ours answered differently; {check}"
        spread = median(ratios), min(ratios), max(ratios)
        return Row(case, self.ours.median, peer, median(theirs), *spread, runs, ok, check, self.others, **limits)


def contest(ours: Callable[[], Any], peers: Sequence[Peer], settings: Settings) -> Contest:
    """Ours first, the peers after it, and the other way round in every second run."""
    result = Contest(peers={peer.name: Trials() for peer in peers})
    began, busy = time.perf_counter(), _others_busy()
    everyone = [Peer("ours", lambda _: ours()), *peers]
    for run in range(settings.runs):
        for peer in reversed(everyone) if run % 2 else everyone:
            trials = result.peers.get(peer.name, result.ours)
            if run and trials is not result.ours and trials.seconds[0] > PATIENCE:
                continue
            peer.prepare()
            gc.collect()
            started = synchronised(settings.device)
            answer = peer.call(result.ours.answer)
            trials.seconds.append(synchronised(settings.device) - started)
            if run and trials is result.ours:
                result.repeats &= _equal(answer, trials.answer)
            trials.answer = answer
    if busy is not None:
        result.others = max(0.0, (_others_busy() or 0.0) - busy) / (time.perf_counter() - began)
    return result


def _others_busy() -> float | None:
    """Seconds of processor time that all other processes have used, hypervisor included; None where unknown."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _equal(a: Any, b: Any) -> bool:
    return np.array_equal(getattr(a, "indices", a), getattr(b, "indices", b))
