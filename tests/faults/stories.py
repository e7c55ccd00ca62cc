"""Commands that change a pool, each with what goes before it and what follows when it was cut off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from lightpool_core.pool.checking import findings_in
from tests.faults.crashes import Crash, leftovers, shown, versions
from tests.faults.cutting import Commands

Step: TypeAlias = tuple[object, ...]
"""Arguments of a command; a number stands for a delivery, a path for one beside the pool."""


def _append(delivery: int, *options: str) -> Step:
    return ("append", "--input", delivery, "--embedder", "gist", "--quiet", *options)


_GROWN: tuple[Step, ...] = (_append(0), _append(1))


@dataclass(frozen=True, slots=True)
class Story:
    """A command that is cut off, and the one that completes what it did."""

    before: tuple[Step, ...]
    cut: Step
    again: Step
    in_folder: bool = False
    """Whether the folder of the pool is there before everything, empty."""
    damaged: tuple[str, ...] = ()
    """What is damaged before the command, below the pool."""


def _repeated(before: tuple[Step, ...], step: Step) -> Story:
    return Story(before, step, step)


STORIES = {
    "init": Story((), ("init", "--input", 0, "--embedder", "gist"), _append(0)),
    "init in an empty folder": Story((), ("init", "--embedder", "gist"), _append(0), in_folder=True),
    "first append": _repeated((), _append(0)),
    "append": _repeated(_GROWN[:1], _append(1)),
    "append with embeddings": _repeated(_GROWN[:1], _append(1, "--keep-embeddings")),
    "append without history": _repeated(_GROWN, _append(2, "--no-keep-history")),
    "append with output": _repeated(_GROWN[:1], _append(1, "--output", Path("chosen"))),
    "repair": replace(
        _repeated(_GROWN, ("check", "--repair")),
        damaged=("datapool_latest.csv", ".latest.json", "checkpoint_latest.ckpt"),
    ),
    "restore": _repeated(_GROWN, ("history", "restore", "1")),
}


@dataclass(frozen=True)
class Told:
    """A story that nothing interrupted."""

    story: Story
    deliveries: tuple[Path, ...]
    base: Path
    """The folder before it; the pool is called `pool`."""
    old: dict[int, str]
    """Its versions, and what they hold."""
    new: dict[int, str]
    shown: tuple[object, ...]
    """What is told in the end."""
    beside: dict[str, bytes]
    """What lies beside the pool in the end, by name."""

    def arguments(self, root: Path, step: Step) -> Step:
        """Of a command whose pool lies in `root`."""
        given = tuple(self.deliveries[part] if isinstance(part, int) else part for part in step)
        given = tuple(root / part if isinstance(part, Path) else part for part in given)
        return (*given, "--pool", root / "pool")

    def cut(self, root: Path) -> Step:
        """Arguments of the command that is to be cut."""
        return self.arguments(root, self.story.cut)

    def fresh(self, root: Path) -> Path:
        """The folder before the command, in the place of `root`."""
        shutil.rmtree(root, ignore_errors=True)
        return Path(shutil.copytree(self.base, root))

    def wrongs(self, crash: Crash, root: Path, commands: Commands) -> Iterator[str]:
        """What is wrong with a crash, and with what the next command makes of it in the place of `root`."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(crash.folder, root)
        yield from self.broken(root, power=crash.power)
        yield from self.unrepaired(root, commands)

    def broken(self, root: Path, *, power: bool = False) -> Iterator[str]:
        """Whether the pool is at the old or at the new version, and whole."""
        if not (root / "pool" / "datapool.toml").exists():
            if self.story.before:
                yield "the pool is gone"
            return
        try:
            found = versions(root / "pool")
        except Exception as error:  # whatever it is, it is wrong
            if not (power and "the next append mends it" in str(error)):
                yield f"cannot be read: {error!r}"
            return
        known = self.old | self.new
        if max(found) not in {max(self.old, default=0), max(self.new)}:
            yield f"versions {sorted(found)}"
        if max(found) == max(self.new) > max(self.old, default=0) and beside(root) != self.beside:
            yield "what it wrote beside the pool is not whole"
        if wrong := [number for number in found if found[number] != known.get(number)]:
            yield f"versions {wrong} hold something else"

    def unrepaired(self, root: Path, commands: Commands) -> Iterator[str]:
        """Whether the next command ends like the one that nothing interrupted."""
        ended = commands(*self.arguments(root, self.story.again))
        if ended.code:
            yield f"the next command says: {ended.said}"
            return
        found = versions(root / "pool")
        if ("--no-keep-history" in self.story.cut and len(found) > 1) or found[max(found)] != self.shown[0]:
            yield f"ends with versions {sorted(found)}"
        if shown(root / "pool") != self.shown[1:]:
            yield "ends with another CSV or ledger"
        if beside(root) != self.beside:
            yield "ends with something else beside the pool"
        if left := list(leftovers(root)):
            yield f"leaves {left}"
        yield from map(str, findings_in(root / "pool"))


def told_by(story: Story, commands: Commands, deliveries: tuple[Path, ...], folder: Path) -> Told:
    """Live through a story in `folder`."""
    base, root = folder / "base", folder / "root"
    (base / "pool" if story.in_folder else base).mkdir(parents=True)
    told = Told(story, deliveries, base, {}, {}, (), {})
    for step in story.before:
        _run(commands, told.arguments(base, step))
    old = versions(base / "pool") if story.before else {}
    for name in story.damaged:
        (base / "pool" / name).write_bytes((base / "pool" / name).read_bytes()[:-7])
    _run(commands, told.cut(told.fresh(root)))
    new = versions(root / "pool")
    if story.again != story.cut:
        _run(commands, told.arguments(root, story.again))
    final = versions(root / "pool")
    if not old:  # the pool is there before it has anything
        old = {0: final[0]}
    return Told(story, deliveries, base, old, new, (final[max(final)], *shown(root / "pool")), beside(root))


def beside(root: Path) -> dict[str, bytes]:
    """The files below `root` that do not belong to the pool."""
    files = (path for path in root.rglob("*") if path.is_file())
    named = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in named.items() if not name.startswith(("pool/", ".pool."))}


def _run(commands: Commands, arguments: Step) -> None:
    ended = commands(*arguments)
    assert ended.code == 0, ended.said
