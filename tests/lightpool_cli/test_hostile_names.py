from __future__ import annotations

import csv
import os
import re

import pytest
from PIL import Image

from lightpool_cli import console
from lightpool_core.media.names import from_line
from lightpool_core.media.source import readable

ESCAPE = "\x1b[31m\x1b]0;title\x07red"
NAMES = [
    "two\nlines.png",
    "carriage\rreturn.png",
    "next\x85line\u2028.png",
    "comma,name.png",
    'it\'s "quoted".png',
    '"',
    "-i.png",
    "--output=x.png",
    "=1+1.png",
    "@SUM(A1).png",
    "\ttab.png",
    " led by a space.png",
    "trailed by a space .png",
    f"{ESCAPE}.png",
    "\x9b2Jcontrol.png",
    "gnp.\u202egpj.png",
    "zero\u200bwidth\ufeff.png",
    "[red]markup[/red].png",
    "%s%d{0}$HOME`id`.png",
    "back\\slash\\n.png",
    "e\u0301.png",
    "é.png",
    "#comment.png",
    "*?.png",
    "NUL",
    "\\xff.png",
    os.fsdecode(b"not-utf8-\xff\xfe.png"),
    "l" * 251 + ".png",
    os.fsdecode(b"\xff" * 251 + b".png"),
    "two\nlines/in a\nfolder.png",
    f"{ESCAPE}/[bold]{ESCAPE}.png",
    "deep/-rf/a..png.png",
]
TRICKS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = Image.effect_noise((48, 48), 90).convert("RGB")
    grey.paste((seed * 37 % 256, seed * 91 % 256, seed * 53 % 256), (0, 0, 24 + seed % 20, 20 + seed % 17))
    grey.save(path, format="PNG")


def harmless(done):
    assert not TRICKS.findall(done.out + done.err)
    return done


@pytest.fixture(scope="module")
def inbox(tmp_path_factory):
    """A picture under every name."""
    folder = tmp_path_factory.mktemp("names") / "in"
    for seed, name in enumerate(NAMES):
        picture(folder / (name if name.endswith(".png") else f"{name}.png"), seed)
    return folder


@pytest.fixture(scope="module")
def known(inbox):
    """How the pool calls them."""
    return sorted(readable(path.relative_to(inbox).as_posix()) for path in inbox.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def grown_names(inbox, tmp_path_factory):
    from lightpool_core import Mode, Overrides, append

    folder = tmp_path_factory.mktemp("named")
    wanted = Overrides(inputs=(inbox,), embedder="gist", n_samples=1.0)
    report = append(folder / "pool", wanted, Mode(output=folder / "out"))
    return folder, report


def test_every_name_is_processed_once_and_kept_as_it_is(lightpool, grown_names, known, csv_of):
    folder, report = grown_names
    assert (report.sources.processed, report.sources.corrupt, report.samples.selected) == (len(NAMES), 0, len(NAMES))
    assert sorted(csv_of(folder / "pool")[0]) == known
    assert sorted(lightpool("history", "show", 1, "--pool", folder / "pool", "--filenames", "--json").json) == known
    assert lightpool.append(folder / "pool")["sources"]["new"] == 0


def test_a_list_of_names_is_a_line_for_each_and_reads_back(lightpool, grown_names, known, inbox, tmp_path):
    folder, report = grown_names
    listed = folder / "pool" / "runs" / report.run / "filenames" / "sampled_filenames.txt"
    lines = listed.read_text(encoding="utf-8").splitlines()
    assert sorted(map(from_line, lines)) == known
    shown = harmless(lightpool("history", "show", 1, "--pool", folder / "pool", "--filenames"))
    assert sorted(map(from_line, shown.lines)) == known
    (tmp_path / "list.txt").write_text(shown.out, encoding="utf-8")
    again = lightpool.append(tmp_path / "again", "--input", inbox, "--filenames", tmp_path / "list.txt")
    assert again["sources"]["processed"] == len(known)


def test_every_name_is_a_file_of_its_own_in_an_output_folder(grown_names, inbox):
    folder, _ = grown_names
    written = [path for path in (folder / "out").rglob("*") if path.is_file()]
    raw = [path for path in inbox.rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in written) == sorted(path.read_bytes() for path in raw)
    assert {path.name for path in raw if readable(path.name) == path.name} <= {path.name for path in written}


def test_every_name_can_be_asked_for(lightpool, grown_names, known):
    pool = grown_names[0] / "pool"
    lines = lightpool("history", "show", 1, "--pool", pool, "--filenames").lines
    for name in known:
        assert lightpool("history", "show", 1, "--pool", pool, "--why", name, "--json").json["filename"] == name
    for line in lines:
        assert "chosen" in harmless(lightpool("history", "show", 1, "--pool", pool, "--why", line)).out


def test_names_survive_a_restore_and_a_diff(lightpool, grown_names, known, tmp_path):
    import shutil

    pool = shutil.copytree(grown_names[0] / "pool", tmp_path / "pool")
    lightpool("history", "restore", 0, "--pool", pool)
    gone = harmless(lightpool("history", "diff", 1, 2, "--pool", pool))
    assert sorted(from_line(line.removeprefix("- ")) for line in gone.lines) == known
    assert lightpool.append(pool)["samples"]["selected"] == len(known)
    assert sorted(lightpool("history", "diff", 2, 3, "--pool", pool, "--json").json["joined"]) == known


def test_names_survive_a_selection_into_a_csv_and_back(lightpool, grown_names, known, tmp_path):
    pool, chosen = grown_names[0] / "pool", tmp_path / "chosen.csv"
    shown = harmless(lightpool("select", "--pool", pool, "--output", chosen))
    assert sorted(map(from_line, shown.lines)) == known
    with chosen.open(newline="", encoding="utf-8") as stream:
        assert sorted(row["filenames"] for row in csv.DictReader(stream)) == known
    again = lightpool("select", "--embeddings", chosen, "--json")
    assert sorted(again.json["selected"]) == known


def test_no_name_or_reason_gives_orders_to_the_terminal(lightpool, tmp_path):
    folder = tmp_path / f"{ESCAPE}[red]"
    for name in (f"{ESCAPE}.png", "[bold]gnp.\u202egpj.jpg", "two\nlines.jpg", "\x9b2J.mp4"):
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\x1b[31m no picture")
    picture(folder / "label\u202e" / ":car: [blue].png", 1)
    pool = tmp_path / "pool"
    said = harmless(lightpool("append", "--pool", pool, "--input", folder, "--embedder", "gist"))
    assert "\\x1b[31m\\x1b]0;title\\x07red.png" in said.out
    assert "[bold]gnp.\\u202egpj.jpg" in said.out
    assert "two\\nlines.jpg" in said.out
    assert "label\\u202e" in harmless(lightpool("info", "--pool", pool)).out
    assert ":car: [blue].png" in harmless(lightpool("history", "show", 1, "--pool", pool, "--filenames")).out
    assert "\\u202e" in harmless(lightpool("select", "--pool", pool)).out
    for command in ("info", "history list", "check"):
        harmless(lightpool(*command.split(), "--pool", pool))
        harmless(lightpool(*command.split(), "--pool", pool, "--json"))
    harmless(lightpool("select", "--input", folder, "--embedder", "gist"))
    harmless(lightpool.attempt("append", "--pool", pool, "--input", tmp_path / f"{ESCAPE}\nnowhere"))
    harmless(lightpool.attempt("history", "show", 1, "--pool", pool, "--why", f"{ESCAPE}[red]\u202e"))
    harmless(lightpool.attempt(f"{ESCAPE}\u202e"))


def test_json_keeps_the_true_names(lightpool, tmp_path):
    name = f"{ESCAPE}\u202e\x9b\nname.png"
    picture(tmp_path / "in" / name, 1)
    (tmp_path / "in" / f"bad{name}").write_bytes(b"no picture")
    pool = tmp_path / "pool"
    report = harmless(lightpool("append", "--pool", pool, "--input", tmp_path / "in", "--embedder", "gist", "--json"))
    assert report.json["corrupt"][0]["filename"] == f"bad{name}"
    assert harmless(lightpool("select", "--pool", pool, "--json")).json["selected"] == [name]
    assert harmless(lightpool("info", "--pool", pool, "--json")).json["samples"] == 1


def test_tables_and_pairs_show_any_value_as_it_is_spelled(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    odd = "[red]x[/red] [/] :car: \x1b[31m\u202e\nnext"
    console.table(("name", "what"), [(odd, [odd, "second"])])
    console.pairs([(odd, odd), ("list", ["one", odd])])
    console.say(odd)
    console.lines([odd])
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("[red]x[/red] [/] :car: \\x1b[31m\\u202e\\nnext") == 7
    assert not TRICKS.findall(shown.out + shown.err)
