from __future__ import annotations

import inspect
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lightpool_core.errors import SourceNotFound
from lightpool_core.media.inputs import list_sources


def touched(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def names_in(*inputs: Path, filenames: Path | None = None) -> list[str]:
    return [source.name for source in list_sources(inputs, filenames)]


def complaint(inputs: Sequence[Path], filenames: Path | None = None) -> str:
    with pytest.raises(SourceNotFound) as caught:
        list_sources(inputs, filenames)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_folders_are_walked_to_the_bottom_and_sources_sorted_by_name(tmp_path: Path) -> None:
    touched(tmp_path, "b.jpg", "a/z.png", "a/c/d/e.mp4", "a.jpg", "notes.txt", "B.JPG")
    assert names_in(tmp_path) == ["B.JPG", "a.jpg", "a/c/d/e.mp4", "a/z.png", "b.jpg"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg", ".b.jpg", ".trash/c.jpg", "sub/.thumbs/d.jpg", "sub/._e.jpg")
    assert names_in(tmp_path) == ["a.jpg"]


def test_an_input_may_itself_lie_in_a_hidden_folder(tmp_path: Path) -> None:
    assert names_in(touched(tmp_path / ".data", "a.jpg")) == ["a.jpg"]


def test_pools_inside_inputs_are_passed_over(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg", "pool/datapool.toml", "pool/b.jpg", "pool/deep/c.jpg")
    assert names_in(tmp_path) == ["a.jpg"]


def test_an_input_that_is_a_pool_holds_nothing(tmp_path: Path) -> None:
    assert "holds no images or videos" in complaint([touched(tmp_path, "a.jpg", "datapool.toml")])


def test_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    touched(tmp_path, "a/b/c.jpg")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path)
    assert names_in(tmp_path) == ["a/b/c.jpg"]


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links to what lies elsewhere."""
    touched(tmp_path / "else", "x/b.jpg", "notes.txt")
    touched(tmp_path / "in", "a.jpg")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "else" / "x")
    (tmp_path / "in" / "c.jpg").symlink_to(tmp_path / "else" / "x" / "b.jpg")
    (tmp_path / "in" / "notes.txt").symlink_to(tmp_path / "else" / "notes.txt")
    (tmp_path / "in" / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "in" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "in" / "device.jpg").symlink_to("/dev/zero")
    return tmp_path / "in"


def test_links_that_lead_out_of_the_inputs_are_refused_by_name(linked: Path) -> None:
    sources = list_sources([linked])
    assert [(source.name, bool(source.refused)) for source in sources] == [
        ("a.jpg", False),
        ("c.jpg", True),
        ("linked", True),
    ]
    assert all("--follow-links" in source.refused for source in sources if source.refused)


def test_links_elsewhere_are_followed_under_their_own_name_where_that_is_wanted(linked: Path) -> None:
    sources = list_sources([linked], follow_links=True)
    assert [source.name for source in sources] == ["a.jpg", "c.jpg", "linked/b.jpg"]
    assert not any(source.refused for source in sources)


def test_links_within_all_that_is_named_are_followed(linked: Path) -> None:
    other = linked.parent / "else"
    assert [source.name for source in list_sources([linked, other])] == ["a.jpg", "c.jpg", "linked/b.jpg", "x/b.jpg"]
    assert not any(source.refused for source in list_sources([linked, other]))


def test_an_input_may_itself_be_a_link(linked: Path) -> None:
    (linked.parent / "way").symlink_to(linked.parent / "else")
    (linked.parent / "one.jpg").symlink_to(linked.parent / "else" / "x" / "b.jpg")
    assert names_in(linked.parent / "way") == ["x/b.jpg"]
    assert names_in(linked.parent / "one.jpg") == ["one.jpg"]


def test_a_folder_next_to_an_input_is_not_in_it(tmp_path: Path) -> None:
    touched(tmp_path / "in-between", "b.jpg")
    touched(tmp_path / "in", "a.jpg")
    (tmp_path / "in" / "b.jpg").symlink_to(tmp_path / "in-between" / "b.jpg")
    assert [source.name for source in list_sources([tmp_path / "in"]) if source.refused] == ["b.jpg"]


def test_many_folders_full_of_links_to_each_other_are_walked_once_each(tmp_path: Path) -> None:
    for n in range(30):
        touched(tmp_path, f"{n}/{n}.jpg")
        for other in range(30):
            (tmp_path / str(n) / f"to-{other}").symlink_to(tmp_path / str(other))
    assert names_in(tmp_path) == sorted(f"{n}/{n}.jpg" for n in range(30))


def test_folders_deeper_than_the_stack_are_walked(tmp_path: Path) -> None:
    name = "/".join(["a"] * 100) + "/x.jpg"
    touched(tmp_path, name)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        assert names_in(tmp_path) == [name]
    finally:
        sys.setrecursionlimit(before)


def test_what_is_neither_file_nor_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mp4")
    assert names_in(tmp_path) == ["a.jpg"]
    assert "does not exist" in complaint([tmp_path / "pipe.jpg"])


def test_single_files_are_inputs_called_by_their_name(tmp_path: Path) -> None:
    touched(tmp_path, "in/b.mp4", "in/other.jpg", "a.jpg")
    sources = list_sources([tmp_path / "in" / "b.mp4", tmp_path / "a.jpg"])
    assert [(source.name, source.kind, source.input) for source in sources] == [
        ("a.jpg", "image", tmp_path),
        ("b.mp4", "video", tmp_path / "in"),
    ]


def test_a_source_knows_its_file_its_size_and_its_time(tmp_path: Path) -> None:
    touched(tmp_path, "cats/a.jpg")
    os.utime(tmp_path / "cats" / "a.jpg", ns=(5, 7))
    (source,) = list_sources([tmp_path])
    assert source.file == tmp_path / "cats" / "a.jpg"
    assert (source.size, source.mtime_ns, source.input, source.kind) == (10, 7, tmp_path, "image")


def test_the_first_level_folder_is_the_weak_label_of_images(tmp_path: Path) -> None:
    touched(tmp_path, "flat.jpg", "cats/a.jpg", "cats/deep/b.jpg", "dogs/c.jpg", "dogs/v.mp4")
    labels = {source.name: source.label_name for source in list_sources([tmp_path])}
    assert labels == {
        "flat.jpg": "",
        "cats/a.jpg": "cats",
        "cats/deep/b.jpg": "cats",
        "dogs/c.jpg": "dogs",
        "dogs/v.mp4": "dogs/v.mp4",
    }


def test_nested_inputs_report_a_file_once_named_after_the_first(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg", "sub/b.jpg")
    assert names_in(tmp_path, tmp_path / "sub") == ["a.jpg", "sub/b.jpg"]
    assert names_in(tmp_path / "sub", tmp_path) == ["a.jpg", "b.jpg"]
    assert names_in(tmp_path, tmp_path) == ["a.jpg", "sub/b.jpg"]


def test_equal_names_in_two_inputs_are_two_sources(tmp_path: Path) -> None:
    touched(tmp_path, "x/a.jpg", "y/a.jpg")
    sources = list_sources([tmp_path / "y", tmp_path / "x"])
    assert [source.file for source in sources] == [tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg"]


def test_a_relative_input_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touched(tmp_path, "in/a.jpg")
    monkeypatch.chdir(tmp_path)
    (source,) = list_sources([Path("in/../in")])
    assert (source.file, source.name) == (tmp_path / "in" / "a.jpg", "a.jpg")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone'} does not exist" in complaint([touched(tmp_path, "a.jpg"), tmp_path / "gone"])


def test_an_input_without_images_or_videos_is_named(tmp_path: Path) -> None:
    touched(tmp_path, "in/notes.txt", "full/a.jpg")
    assert f"{tmp_path / 'in'} holds no images" in complaint([tmp_path / "full", tmp_path / "in"])
    assert "holds no images" in complaint([tmp_path / "in" / "notes.txt"])


def test_a_list_of_filenames_keeps_what_it_lists(tmp_path: Path) -> None:
    touched(tmp_path / "in", "a.jpg", "b.jpg", "sub/c.jpg")
    (tmp_path / "list.txt").write_bytes(b"\n  sub/c.jpg \r\n./a.jpg\n\na.jpg")
    assert names_in(tmp_path / "in", filenames=tmp_path / "list.txt") == ["a.jpg", "sub/c.jpg"]


def test_a_list_written_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    touched(tmp_path / "in", "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\n", encoding="utf-8-sig")
    assert names_in(tmp_path / "in", filenames=tmp_path / "list.txt") == ["a.jpg"]


def test_a_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    touched(tmp_path / "in", "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\nz.jpg\ny.jpg\n")
    said = complaint([tmp_path / "in"], tmp_path / "list.txt")
    assert said.startswith("y.jpg and 1 more, listed in ")


def test_a_list_that_is_empty_missing_or_no_text_is_named(tmp_path: Path) -> None:
    touched(tmp_path / "in", "a.jpg")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00a")
    assert "empty.txt is empty" in complaint([tmp_path / "in"], tmp_path / "empty.txt")
    assert "gone.txt cannot be read" in complaint([tmp_path / "in"], tmp_path / "gone.txt")
    assert "binary.txt cannot be read" in complaint([tmp_path / "in"], tmp_path / "binary.txt")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 names only")
def test_a_name_that_is_not_utf_8_becomes_readable(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    (source,) = list_sources([tmp_path])
    assert source.name == "caf\\xe9.jpg"
    assert source.name.encode("utf-8")
    assert source.file.exists()


def test_names_with_odd_characters_are_kept(tmp_path: Path) -> None:
    odd = ["a,b.jpg", 'q"q.jpg', "new\nline.jpg", "übung ☃.jpg", "back\\slash.jpg"]
    touched(tmp_path, *odd)
    assert names_in(tmp_path) == sorted(odd)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    touched(tmp_path, "a.jpg", "shut/b.jpg")
    (tmp_path / "shut").chmod(0)
    try:
        assert f"{tmp_path / 'shut'} cannot be read" in complaint([tmp_path])
    finally:
        (tmp_path / "shut").chmod(0o700)


def test_progress_is_told_of_every_source(tmp_path: Path) -> None:
    told: list[int] = []

    class Counting:
        def stage(self, name: str, total: int | None = None) -> Counting:
            assert (name, total) == ("listing", None)
            return self

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *exc: object) -> None:
            return None

        def advance(self, n: int = 1) -> None:
            told.append(n)

    list_sources([touched(tmp_path, "a.jpg", "b.jpg")], progress=Counting())
    assert sum(told) == 2
