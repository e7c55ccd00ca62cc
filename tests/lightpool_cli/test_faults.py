from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests import touchy
from tests.touchy import CRASH, EXIT, HANG, KILL, film, image, plain, scene

TOUCHY = f"{touchy.__file__}:Touchy"
TIMEOUT = 3
CORRUPT = {
    "crash.png": "it made its decoder crash (signal 11)",
    "empty.jpg": "empty file",
    "exit.png": "it made its decoder crash (exit code 3)",
    "hang.png": f"nothing came of it for {TIMEOUT} seconds (setting timeout)",
    "hangs at once.mkv": f"nothing came of it for {TIMEOUT} seconds (setting timeout)",
    "kill.png": "its decoder was killed (out of memory?); the next run tries it again",
    "large.png": "100.01 megapixels, above the limit of 90 (setting max_megapixels)",
    "text.jpg": "not an image in a known format",
}
CUT_SHORT = {
    "crashes late.mkv": "it made its decoder crash (signal 11)",
    "cut.mkv": "the file ends early",
}
GOOD = {"good 0.png", "good 1.png", "good 2.png", "good 3.png", "good 4.png", "good 5.png", "good.mkv"}


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that can go wrong in one folder, among files that are well."""
    folder = tmp_path_factory.mktemp("faults") / "in"
    folder.mkdir()
    for name, colour in {"hang": HANG, "crash": CRASH, "kill": KILL, "exit": EXIT}.items():
        image(folder / f"{name}.png", plain(colour))
    Image.new("1", (10_000, 10_001)).save(folder / "large.png")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("This is not a picture.")
    for seed in range(6):
        image(folder / f"good {seed}.png", scene(seed))
    film(folder / "good.mkv", [scene(100 + seed) for seed in range(10)])
    film(folder / "crashes late.mkv", [*(scene(200 + seed) for seed in range(6)), plain(CRASH)])
    film(folder / "hangs at once.mkv", [plain(HANG), scene(300)])
    whole = film(folder / "cut.mkv", [scene(400 + seed) for seed in range(40)]).read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    return folder


def named(problems: list[dict[str, str]]) -> dict[str, str]:
    return {problem["filename"]: problem["reason"] for problem in problems}


def test_one_bad_file_of_every_kind_costs_only_itself(lightpool, inbox, tmp_path):
    pool = tmp_path / "pool"
    options = ("--embedder", TOUCHY, "--fps", "all", "--min-distance", 0, "--timeout", TIMEOUT)
    report = lightpool("append", "--pool", pool, "--input", inbox, *options, "--json").json
    assert named(report["corrupt"]) == CORRUPT
    assert named(report["cut_short"]) == CUT_SHORT
    sources = report["sources"]
    assert sources["corrupt"] == len(CORRUPT)
    assert (sources["processed"], sources["duplicates"]) == (len(CUT_SHORT) + len(GOOD), 0)

    decisions = lightpool("history", "show", 1, "--pool", pool, "--json").json
    assert decisions["number"] == 1
    names = {line.split(b",")[0].decode() for line in (pool / "datapool_latest.csv").read_bytes().splitlines()[1:]}
    assert {name for name in names if name.startswith("good ")} == GOOD - {"good.mkv"}
    assert {name for name in names if name.startswith("good-")} == {f"good-{n:02}-mkv.png" for n in range(10)}
    assert {name for name in names if name.startswith("crashes")} == {f"crashes late-{n}-mkv.png" for n in range(4)}
    assert 10 < sum(name.startswith("cut-") for name in names) < 30
    assert len(names) == report["pool_size"]

    again = lightpool("append", "--pool", pool, "--json").json
    assert named(again["corrupt"]) == {"kill.png": CORRUPT["kill.png"]}
    assert again["sources"]["new"] == 1
    assert again["cut_short"] == []
    assert again["pool_size"] == report["pool_size"]


def test_select_names_them_as_well(lightpool, inbox):
    options = ("--embedder", TOUCHY, "--fps", "all", "--timeout", TIMEOUT, "--n-samples", 3)
    done = lightpool("select", "--input", inbox, *options, "--json")
    assert len(done.json["selected"]) == 3
    assert all(name in done.err for name in CORRUPT)
