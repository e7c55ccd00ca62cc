"""Files from outside, damaged in every way: a value or one line of error, soon and in bounded memory.

A quick pass; `tox -e fuzz` runs for longer (docs/reliability-fuzzing.md).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lightpool_core.errors import SourceError
from tests.fuzz.mutation import KINDS, Edit, Kind, edited
from tests.fuzz.property import Finding, check
from tests.fuzz.targets import TARGETS, Target

INPUTS = Path(__file__).with_name("inputs")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "15"))
BY_NAME = {target.name: target for target in TARGETS}
KEPT = sorted(INPUTS.glob("*/*"))


def targets(*, slow: bool | None = None) -> pytest.MarkDecorator:
    chosen = [target for target in TARGETS if slow in (None, target.slow)]
    return pytest.mark.parametrize("target", [pytest.param(target, id=target.name) for target in chosen])


def at_most(n: int) -> settings:
    ignored = [HealthCheck.too_slow]
    return settings(max_examples=n, deadline=None, database=None, suppress_health_check=ignored, derandomize=True)


@cache
def seeds(name: str) -> tuple[bytes, ...]:
    return tuple(BY_NAME[name].seeds())


def edits() -> st.SearchStrategy[list[Edit]]:
    lengths = st.sampled_from([1, 2, 4, 16, 200])

    def of(*kinds: Kind) -> st.SearchStrategy[list[Edit]]:
        edit = st.builds(Edit, st.sampled_from(kinds), st.integers(0, 1 << 20), lengths, st.integers(0, 255))
        return st.lists(edit, min_size=1, max_size=4)

    return of(*KINDS) | of("swap")


def is_value(target: Target, data: bytes) -> bool:
    with TemporaryDirectory() as folder:
        return check(target, data, Path(folder))


@targets()
def test_a_valid_file_is_read(target):
    assert all(is_value(target, seed) for seed in seeds(target.name))


@targets(slow=False)
@at_most(EXAMPLES)
@given(data=st.data())
def test_a_damaged_file_is_a_value_or_one_line_of_error(target, data):
    seed = data.draw(st.sampled_from(range(len(seeds(target.name)))), label="seed")
    is_value(target, edited(seeds(target.name)[seed], data.draw(edits(), label="edits")))


@targets(slow=True)
@at_most(max(1, EXAMPLES // 5))
@given(edits=edits())
def test_a_damaged_part_of_a_pool_is_a_value_or_one_line_of_error(target, edits):
    is_value(target, edited(seeds(target.name)[0], edits))


@targets(slow=True)
@pytest.mark.parametrize("data", [b"{}", b"[" * 20_000], ids=["object", "deep"])
def test_another_part_of_a_pool_is_a_value_or_one_line_of_error(target, data):
    is_value(target, data)


@targets(slow=False)
@at_most(EXAMPLES)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=b"\0" * 64)
@example(data=b"[" * 20_000)
def test_any_bytes_are_a_value_or_one_line_of_error(target, data):
    is_value(target, data)


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in KEPT])
def test_what_broke_a_reader_once_is_a_value_or_one_line_of_error(path):
    is_value(BY_NAME[path.parent.name], path.read_bytes())


def breaking(path: Path) -> None:
    content = path.read_bytes()
    if content == b"slow":
        while True:
            pass
    if content == b"large":
        raise SourceError(f"{len(b'x' * (100 << 20))} bytes")
    raise SourceError("") if content == b"silent" else KeyError("x")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"bug", "KeyError: 'x'"), (b"silent", "no single line"), (b"slow", "took more than"), (b"large", "megabytes")],
)
def test_readers_that_break_the_property_are_found(data, said, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.property.SECONDS", 1)
    monkeypatch.setattr("tests.fuzz.property.MEGABYTES", 50)
    if data == b"large" and not Path("/proc/self/clear_refs").exists():
        pytest.skip("the mark of memory cannot be set back here")
    with pytest.raises(Finding, match=said):
        check(Target("breaking", "file", breaking, lambda: [b""]), data, tmp_path)
