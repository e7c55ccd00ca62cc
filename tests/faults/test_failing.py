from __future__ import annotations

import errno
import re

import pytest

from tests.faults.crashes import versions
from tests.faults.cutting import GO_ON, LONG, sampled
from tests.faults.stories import STORIES

FAILING = {
    errno.ENOSPC: {"open", "write", "truncate", "fsync", "rename", "link", "mkdir"},
    errno.EROFS: {"open", "write", "truncate", "rename", "link", "mkdir", "unlink"},
    errno.EMFILE: {"open"},
}
ADVICE = {
    errno.ENOSPC: "No space left on device; free some space",
    errno.EROFS: "Read-only file system; make it writable",
    errno.EMFILE: "Too many open files; let it open more files (ulimit -n)",
}
PANIC = re.compile(r"\nthread '[^']*' \(\d+\) panicked at .*\n.*\n(?:stack backtrace:\n)?(?:note: .*\n)?")
"""What the Delta library says on stderr when a disk fails amid a write; where there is no room, nothing is begun."""
SAMPLED = 3
"""Changes from which on everything fails; the long run tries all."""


@pytest.mark.parametrize("number", FAILING, ids=errno.errorcode.get)
@pytest.mark.parametrize("name", STORIES if LONG else ["append", "append without history", "restore"])
def test_a_failing_disk_is_named_in_one_line_and_costs_nothing(name, number, commands, tell, tmp_path):
    told = tell(name)
    root = told.fresh(tmp_path / "root")
    changes = []
    commands.watched(root, lambda change: changes.append(change) or GO_ON, *told.cut(root))
    can_fail = [change.number for change in changes if change.what in FAILING[number]]
    for first in sampled(can_fail, SAMPLED):

        def fail(change, first=first):
            return number if change.number >= first and change.what in FAILING[number] else GO_ON

        ended = commands.watched(told.fresh(root), fail, *told.cut(root))
        if ended.code == 0:  # what failed did not matter
            assert max(versions(root / "pool")) == max(told.new)
        else:
            said = PANIC.sub("", ended.said)
            assert ended.code == 1, said
            assert said.startswith("lightpool: ")
            assert said.count("\n") == 1, said
            assert ADVICE[number] in said or "once they can be, the same command goes on" in said
            assert str(root) in said
        assert [*told.broken(root), *told.unrepaired(root, commands)] == []
