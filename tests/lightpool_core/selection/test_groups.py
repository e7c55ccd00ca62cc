from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.selection.groups import folder_of


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*"/.a", "bc", "../", "./"]), max_size=8).map("".join))
def test_the_folder_is_the_one_that_pathlib_finds(source: str) -> None:
    assert folder_of(source) == PurePosixPath(source).parent.as_posix()


@pytest.mark.parametrize(
    ("source", "folder"), [("a/b/x.png", "a/b"), ("x.png", "."), ("/x.png", "/"), ("./x.png", ".")]
)
def test_a_folder_is_called_by_its_path(source: str, folder: str) -> None:
    assert folder_of(source) == folder
