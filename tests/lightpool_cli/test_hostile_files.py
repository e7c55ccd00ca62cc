from __future__ import annotations

import ctypes
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def inbox(tmp_path, draw):
    draw(tmp_path / "in" / "good.png", 1)
    return tmp_path / "in"


def corrupt(report):
    return {problem["filename"]: problem["reason"] for problem in report["corrupt"]}


def test_links_out_of_the_inputs_are_named_and_not_read(lightpool, inbox, tmp_path, draw):
    secret = draw(tmp_path / "else" / "secret.png", 2)
    (inbox / "link.png").symlink_to(secret)
    (inbox / "linked").symlink_to(tmp_path / "else")
    report = lightpool.append(tmp_path / "pool", "--input", inbox)
    assert set(corrupt(report)) == {"link.png", "linked"}
    assert all("--follow-links" in reason for reason in corrupt(report).values())
    assert (report["sources"]["processed"], report["pool_size"]) == (1, 1)
    again = lightpool.append(tmp_path / "pool")  # named once, not in every run
    assert (again["sources"]["new"], again["corrupt"], again["sources"]["skipped"]) == (0, [], 3)
    assert len(list((tmp_path / "pool" / "runs").iterdir())) == 1
    followed = lightpool.append(tmp_path / "pool", "--follow-links")
    assert followed["corrupt"] == []
    assert followed["sources"]["processed"] == 1
    assert followed["pool_size"] == 2


def test_a_pool_that_follows_links_goes_on_to(lightpool, inbox, tmp_path, draw):
    (inbox / "link.png").symlink_to(draw(tmp_path / "else" / "a.png", 2))
    lightpool.append(tmp_path / "pool", "--input", inbox, "--follow-links")
    (inbox / "more.png").symlink_to(draw(tmp_path / "else" / "b.png", 3))
    assert lightpool.append(tmp_path / "pool")["pool_size"] == 3
    assert "follow_links = true" in (tmp_path / "pool" / "datapool.toml").read_text()


def test_select_names_links_out_of_the_inputs_as_well(lightpool, inbox, tmp_path, draw):
    (inbox / "link.png").symlink_to(draw(tmp_path / "else" / "a.png", 2))
    done = lightpool("select", "--input", inbox, "--embedder", "gist")
    assert done.lines == ["good.png"]
    assert "link.png" in done.err
    both = lightpool("select", "--input", inbox, "--embedder", "gist", "--follow-links")
    assert sorted(both.lines) == ["good.png", "link.png"]


def test_circles_of_links_end(lightpool, inbox, tmp_path):
    (inbox / "up").symlink_to(inbox)
    (inbox / "self.png").symlink_to("self.png")
    (inbox / "one").symlink_to("two")
    (inbox / "two").symlink_to("one")
    report = lightpool.append(tmp_path / "pool", "--input", inbox)
    assert (report["sources"]["found"], report["corrupt"]) == (1, [])


def test_pipes_devices_and_sockets_are_never_opened(lightpool, inbox, tmp_path, monkeypatch):
    monkeypatch.chdir(inbox)
    for name in ("pipe.png", "pipe.mp4"):
        os.mkfifo(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.mp4")
    (inbox / "device.png").symlink_to("/dev/zero")
    if os.geteuid() == 0:
        os.mknod("zero.png", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    report = lightpool.append(tmp_path / "pool", "--input", inbox)
    assert (report["sources"]["found"], report["corrupt"]) == (1, [])
    assert "does not exist" in lightpool.fails("append", "--pool", tmp_path / "pool", "--input", inbox / "pipe.png")


GONE = """
import sys
from pathlib import Path
from lightpool_core import appending
from lightpool_cli.app import main
listed = appending.listed
def between(*arguments):
    found = listed(*arguments)
    {change}
    return found
appending.listed = between
sys.argv = ["lightpool", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [("path.unlink()", "No such file"), ("path.unlink(); import os; os.mkfifo(path)", "no file any more")],
    ids=["gone", "a pipe now"],
)
def test_a_file_that_goes_after_it_was_listed_is_tried_again_by_the_next_run(
    subprocess_run, lightpool, inbox, tmp_path, draw, change, reason
):
    drawn = draw(tmp_path / "kept.png", 2)
    shutil.copy(drawn, inbox / "b.png")
    code = GONE.format(change=f"path = Path({str(inbox / 'b.png')!r}); {change}")
    done = subprocess_run(
        "append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist", "--json", code=code
    )
    assert done.code == 0, done.err
    assert reason in corrupt(done.json)["b.png"]
    (inbox / "b.png").unlink(missing_ok=True)
    shutil.copy(drawn, inbox / "b.png")
    assert lightpool.append(tmp_path / "pool")["pool_size"] == 2


def test_a_file_that_changes_after_it_was_listed_is_looked_at_again(subprocess_run, lightpool, inbox, tmp_path, draw):
    draw(inbox / "b.png", 2)
    draw(tmp_path / "new.png", 3)
    code = GONE.format(change=f"import shutil; shutil.copy({str(tmp_path / 'new.png')!r}, {str(inbox / 'b.png')!r})")
    arguments = ("append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist", "--json")
    assert subprocess_run(*arguments, code=code).json["pool_size"] == 2
    again = lightpool.append(tmp_path / "pool")
    assert again["pool_size"] == 2
    assert lightpool.append(tmp_path / "pool")["sources"]["new"] == 0


def give_up_the_rights_of_root():
    """In the process to come, root may read what anybody else may."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.parametrize(("shut", "code"), [("shut", 1), ("shut.png", 0)])
@pytest.mark.skipif(sys.platform != "linux" and os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_named(inbox, tmp_path, draw, shut, code):
    draw(inbox / "shut" / "a.png", 2)
    draw(inbox / "shut.png", 3)
    (inbox / shut).chmod(0)
    arguments = ["append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist"]
    done = subprocess.run(
        [Path(sys.executable).with_name("lightpool"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=give_up_the_rights_of_root if os.geteuid() == 0 else None,
        env={**os.environ, "COLUMNS": "300"},
    )
    (inbox / shut).chmod(0o700)
    assert done.returncode == code, done.stderr
    assert "cannot be read: Permission denied" in done.stdout + done.stderr
    assert shut in done.stdout + done.stderr
