"""Every kind of damage, made in a real pool, is found and named; what can be made again is."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lightpool_core import Datapool, Mode, Overrides, append, create
from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.errors import CorruptPool, PoolLocked, PoolNotFound
from lightpool_core.pool import datapool as module
from lightpool_core.pool.checking import check
from lightpool_core.pool.history import schema
from lightpool_core.pool.ledger import SCHEMA
from lightpool_core.pool.lock import writing
from lightpool_core.pool.mending import mend
from lightpool_core.pool.repair import recover
from lightpool_core.pool.under_way import under_way
from lightpool_core.settings import PluginChoice, Settings

BUT_POSITIONS = [name for name in schema(1).names if name != "position"]


def draw(path: Path, seed: int) -> None:
    patches = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(patches).resize((64, 48), Image.Resampling.NEAREST).save(path)


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of three versions, and an index of its newest but one. Copy it."""
    folder = tmp_path_factory.mktemp("grown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WORTH_AN_INDEX", 5)
        for first, last in ((0, 6), (6, 9), (9, 12)):
            for seed in range(first, last):
                draw(folder / "in" / f"from{first}" / f"{seed}.png", seed)
            append(folder / "pool", Overrides(inputs=(folder / "in",), embedder="gist", n_samples=1.0))
    return folder / "pool"


@pytest.fixture
def pool(grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 5)
    return Path(shutil.copytree(grown, tmp_path / "pool"))


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def one(pool: Path, pattern: str) -> Path:
    return sorted(pool.glob(pattern))[0]


def content(pool: Path) -> Any:
    """All that a pool is there for: every version, row by row, and what the ledger knows."""
    versions = [(v.number, v.samples, v.dim, v.fingerprint) for v in Datapool.open(pool).history()]
    rows = []
    for number, *_ in versions:
        at = Datapool.open(pool, number)
        names = ["filename", "label", "label_name", "source", "file", "digest", "source_digest", "metadata", "distance"]
        rows.append((at.embeddings.tobytes(), at.columns(*names, "frame", "time", "width", "height").to_pylist()))
    ledger = DeltaTable(str(pool / "sources")).to_pyarrow_table().to_pylist()
    return versions, rows, sorted(map(str, ledger))


def flip(path: Path, where: float, bit: int = 0) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[round(where * (len(damaged) - 1))] ^= 1 << bit
    path.write_bytes(damaged)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace


def rewritten(column: str, value: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A data file of `history/` with other values in one column, and of the size that the log says."""

    def rewrite(path: Path) -> None:
        from pyarrow import parquet

        table = parquet.read_table(path)
        values = [value(old) for old in table[column].to_pylist()]
        index, kind = table.column_names.index(column), table.schema.field(column)
        parquet.write_table(table.set_column(index, kind, pa.array(values, kind.type)), path)
        pool = path.parents[1]
        entry = one(pool, "history/_delta_log/*1.json")
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            if line.get("add", {}).get("path") == path.name:
                line["add"]["size"] = path.stat().st_size
        entry.write_text("\n".join(map(json.dumps, lines)))

    return rewrite


def first_file(pool: Path) -> str:
    """The data file of version 1."""
    files = pa.table(DeltaTable(str(pool / "history"), version=1).get_add_actions())["path"]
    return f"history/{files[0].as_py()}"


def doubled(vector: list[float]) -> list[float]:
    return [2 * x for x in vector]


def with_nan(vector: list[float]) -> list[float]:
    return [float("nan"), *vector[1:]]


TABLES: list[tuple[str, Callable[[Path], None], str]] = [
    ("history/_delta_log/*1.json", Path.unlink, "the log lacks this commit"),
    ("history/_delta_log/*3.json", Path.unlink, "the ledger is of version 3, the newest in history is 2"),
    ("history/_delta_log/*3.json", cut, "the log cannot be read"),
    ("history/_delta_log/*3.json", lambda path: path.write_bytes(b""), "the commit is empty"),
    ("history/_delta_log/*2.json", replaced("lightpool", "lightqool"), "the commit lacks lightpool's note"),
    ("history/_delta_log/*2.json", replaced('\\"samples\\": 9', '\\"samples\\": 8'), "its note says 8"),
    ("history/_delta_log/*1.json", replaced('\\"position\\":0', '\\"position\\":1'), "column position"),
    ("history/_delta_log/*0.json", replaced('{\\"name\\":\\"label\\"', '{\\"name\\":\\"lobel\\"'), ""),
    ("history/_delta_log/*2.json", replaced("gist-1-", "gist-9-"), "of different embedders"),
    ("history/_delta_log/*2.json", replaced('"path":"part-', '"path":"../part-'), "not in its folder"),
    ("history/_delta_log", shutil.rmtree, "there is no log"),
    ("FIRST", Path.unlink, "the file is missing"),
    ("FIRST", cut, "the log says"),
    ("FIRST", lambda path: flip(path, 1.0), "cannot be read"),
    ("FIRST", rewritten("embedding", doubled), "not of unit length"),
    ("FIRST", rewritten("embedding", with_nan), "not finite"),
    ("FIRST", rewritten("embedding", lambda vector: vector[1:]), "not of dimension"),
    ("FIRST", rewritten("position", lambda n: 0), "not 0 to 5, each once"),
    ("FIRST", rewritten("width", lambda n: n + 1), "width is not what the log says"),
    ("FIRST", rewritten("embedding", lambda v: [-v[0], *v[1:]]), "does not hold what was written"),
    ("sources/_delta_log/*3.json", Path.unlink, "the ledger is of version 2, the newest in history is 3"),
    ("sources/_delta_log/*2.json", Path.unlink, "the log lacks this commit"),
    ("sources/part-*.parquet", Path.unlink, "the file is missing"),
    ("sources/part-*.parquet", lambda path: flip(path, 1.0), "cannot be read"),
]


@pytest.mark.parametrize(("where", "damage", "what"), TABLES, ids=[f"{w}: {what}" for w, _, what in TABLES])
def test_damage_to_the_tables_is_named_and_nothing_is_touched(
    where: str, damage: Callable[[Path], None], what: str, pool: Path
) -> None:
    damage(one(pool, first_file(pool) if where == "FIRST" else where))
    before = tree(pool)
    found = [finding for finding in check(pool) if finding.severity == "damaged"]
    assert what in " ".join(map(str, found))
    assert mend(pool)[0] == []
    assert tree(pool) == before


def test_a_name_that_occurs_twice_is_found(pool: Path) -> None:
    newest = Datapool.open(pool)
    rows = newest.columns(*BUT_POSITIONS).slice(0, 1)
    version = dataclasses.replace(newest.version, number=4, samples=13, added=1, run="")
    newest.commit(rows, version).ledger.record_rows(SCHEMA.empty_table(), {"number": 4})
    found = [finding.what for finding in check(pool) if finding.path == pool / "history"]
    assert found == [f"1 names occur more than once, such as {rows['filename'][0].as_py()!r}"]


def test_a_sample_whose_source_the_ledger_does_not_know_is_found(pool: Path) -> None:
    ledger = Datapool.open(pool).ledger
    ledger.restore(1, {"number": 3})
    (found,) = [finding for finding in check(pool) if finding.severity == "damaged"]
    assert found.path == pool / "sources"
    assert "does not know 'from6/6.png'" in found.what


def no_file(path: Path) -> None:
    path.write_bytes(b"")


def wrong_number(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = lines[3].split(",")
    first[5] = "0.125"
    path.write_text("\n".join([*lines[:3], ",".join(first), *lines[4:]]) + "\n")


def without_the_last_row(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def swapped_rows(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[4], lines[3], *lines[5:]]) + "\n")


def as_if_untouched(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """`damage` to the CSV that its mark does not tell."""

    def change(path: Path) -> None:
        damage(path)
        mark = {"version": 3, "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        path.with_name(".latest.json").write_text(json.dumps(mark))

    return change


def other_checkpoint(path: Path) -> None:
    checkpoint = Checkpoint.read(path)
    dataclasses.replace(checkpoint, fingerprint="gist-1-another").write(path)


def nan_in(path: Path) -> None:
    rows = np.fromfile(path, np.float32)
    rows[1000] = np.nan
    rows.tofile(path)


VIEWS: list[tuple[str, Callable[[Path], None], str, str]] = [
    ("datapool_latest.csv", wrong_number, "damaged", "row 3, 'from0/0.png', is not as in history"),
    ("datapool_latest.csv", as_if_untouched(wrong_number), "damaged", "row 3, "),
    ("datapool_latest.csv", swapped_rows, "damaged", "row 3, "),
    ("datapool_latest.csv", cut, "damaged", ""),
    ("datapool_latest.csv", no_file, "damaged", "cannot be read"),
    ("datapool_latest.csv", replaced("from0/1.png", "from0/x.png"), "damaged", "'from0/x.png', is not as in history"),
    ("datapool_latest.csv", replaced(",1\n", ",7\n"), "damaged", "row 1"),
    ("datapool_latest.csv", replaced("embedding_0,", "embedding_x,"), "damaged", "header"),
    ("datapool_latest.csv", without_the_last_row, "damaged", "11 rows"),
    ("datapool_latest.csv", Path.unlink, "warning", "missing"),
    ("checkpoint_latest.ckpt", Path.unlink, "warning", "missing"),
    ("checkpoint_latest.ckpt", cut, "damaged", "cannot be read"),
    ("checkpoint_latest.ckpt", replaced, "damaged", "is not as it was written"),
    ("checkpoint_latest.ckpt", other_checkpoint, "damaged", "of the embedder gist-1-another"),
    ("index/index.json", no_file, "damaged", "not as it was written"),
    ("index/rows.f32", nan_in, "damaged", "not as it was written"),
    ("index/rows.f32", Path.unlink, "damaged", "not as it was written"),
    ("index/graph-9.hnsw", lambda path: flip(path, 0.5), "damaged", "not as it was written"),
    ("index/cells-9.npz", cut, "damaged", "not as it was written"),
    ("index/prefixes-9.npy", Path.unlink, "damaged", "not as it was written"),
]


@pytest.mark.parametrize(("where", "damage", "severity", "what"), VIEWS)
def test_damage_to_views_and_caches_is_named_and_repaired(
    where: str, damage: Callable[[Path], None], severity: str, what: str, pool: Path
) -> None:
    if damage is replaced:  # a byte of a tensor, a number or a name: behind the first header
        flip(pool / where, 0.1)
    else:
        damage(pool / where)
    (found,) = check(pool)
    assert (found.severity, found.path) == (severity, pool / where)
    assert what in found.what
    assert "--repair" in found.advice
    before = content(pool)
    assert mend(pool) == ([found], [])
    assert check(pool) == []
    assert content(pool) == before


def test_an_index_of_other_rows_is_found_out_by_its_rows(pool: Path) -> None:
    import zlib

    nan_in(pool / "index" / "rows.f32")
    header = json.loads((pool / "index" / "index.json").read_text())
    header["rows"] = zlib.crc32((pool / "index" / "rows.f32").read_bytes())
    (pool / "index" / "index.json").write_text(json.dumps(header))
    (found,) = check(pool)
    assert found.what == "its row 2 is not as in history"
    assert mend(pool) == ([found], [])


def test_weights_that_are_not_those_of_the_fingerprint_are_found(tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "weights.safetensors")
    options = {"model": "test_vit", "pretrained": str(tmp_path / "weights.safetensors")}
    create(tmp_path / "pool", Settings(inputs=(tmp_path,), embedder=PluginChoice("timm", options)))
    assert check(tmp_path / "pool") == []
    path = tmp_path / "pool" / "checkpoint_latest.ckpt"
    checkpoint = Checkpoint.read(path)
    network = dict(checkpoint.weights["network"])
    network["cls_token"] = network["cls_token"] + 1
    other = {**checkpoint.weights, "network": network}
    dataclasses.replace(checkpoint, weights=other).write(path)
    (found,) = check(tmp_path / "pool")
    assert (found.severity, found.what) == ("damaged", "its weights are not those of its fingerprint")
    assert mend(tmp_path / "pool") == ([found], [])


def test_a_checkpoint_that_cannot_be_made_again_stays_damaged_with_the_reason(pool: Path) -> None:
    cut(pool / "checkpoint_latest.ckpt")
    replaced('name = "gist"', 'name = "gone"')(pool / "datapool.toml")
    mended, (left,) = mend(pool)
    assert mended == []
    assert left.path == pool / "checkpoint_latest.ckpt"
    assert "there is no embedder 'gone'" in left.advice


def test_settings_that_cannot_be_read_are_damage_and_paths_that_lead_nowhere_a_warning(pool: Path) -> None:
    replaced("/in", "/gone")(pool / "datapool.toml")
    (found,) = check(pool)
    assert found.severity == "warning"
    assert "gone does not exist" in found.what
    (pool / "datapool.toml").write_text("colour = 1")
    (found,) = check(pool)
    assert (found.severity, found.path) == ("damaged", pool / "datapool.toml")


@pytest.mark.parametrize("name", ["report.json", "decisions.parquet"])
def test_a_run_that_cannot_be_read_is_named(name: str, pool: Path) -> None:
    cut(one(pool, f"runs/*/{name}"))
    (found,) = check(pool)
    assert (found.severity, found.path) == ("damaged", one(pool, f"runs/*/{name}"))
    assert "delete it" in found.advice


def test_a_commit_that_was_cut_off_is_a_warning_and_is_completed(pool: Path) -> None:
    newest = Datapool.open(pool)
    before = content(pool)
    pending = pool / "runs" / newest.version.run / "pending.parquet"
    from pyarrow import parquet

    ledger = DeltaTable(str(pool / "sources")).to_pyarrow_table()
    parquet.write_table(ledger.filter(pa.compute.equal(ledger["run"], newest.version.run)), pending)
    newest.ledger.restore(2, {"number": 2})
    found = check(pool)
    assert {finding.severity for finding in found} == {"warning"}
    assert "was cut off" in found[0].what
    assert mend(pool) == (found, [])
    assert content(pool) == before


def test_a_commit_that_a_loss_of_power_left_in_pieces_is_taken_back(pool: Path) -> None:
    newest = Datapool.open(pool)
    cut_off = under_way(pool)
    cut_off.__enter__()
    newest.commit(newest.columns(*BUT_POSITIONS).slice(0, 2), dataclasses.replace(newest.version, number=4, samples=14))
    cut(one(pool, "history/_delta_log/*4.json"))
    found = check(pool)
    assert (found[0].severity, found[0].path) == ("warning", pool / ".under-way")
    assert "the next append or --repair" in found[1].advice
    _, left = mend(pool)
    assert left == []
    assert Datapool.open(pool).version == newest.version
    assert check(pool) == []


def test_a_commit_that_was_whole_before_the_one_that_was_cut_off_is_not_taken_back(pool: Path) -> None:
    cut_off = under_way(pool)
    cut_off.__enter__()
    entry = one(pool, "history/_delta_log/*3.json")
    cut(entry)
    recover(pool)
    with pytest.raises(CorruptPool):
        Datapool.open(pool)
    assert entry.exists()


def test_a_run_that_was_cut_off_before_its_commit_is_a_warning(pool: Path) -> None:
    (one(pool, "runs/*") / "report.json").unlink()
    (found,) = check(pool)
    assert (found.severity, found.what) == ("warning", "the run was cut off")


def test_what_does_not_belong_there_is_a_warning_and_only_what_is_ours_goes(pool: Path) -> None:
    ours = [pool / ".latest.json.77.tmp", pool / "index" / "rows.f32.77.tmp", pool / "history" / "part-00000-x.parquet"]
    theirs = [pool / "notes.txt", pool / "history" / "README", pool / "a folder" / "photo.jpg"]
    for path in (*ours, *theirs):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = check(pool)
    assert {finding.severity for finding in found} == {"warning"}
    assert set(ours + theirs) <= {finding.path for finding in found}
    mend(pool)
    assert not any(path.exists() for path in ours)
    assert all(path.exists() for path in theirs)


def test_data_that_a_lost_commit_named_stays(pool: Path) -> None:
    """The newest version is gone from both logs: only its run tells."""
    for table in ("history", "sources"):
        one(pool, f"{table}/_delta_log/*3.json").unlink()
    before = len(list(pool.glob("*/part-*.parquet")))
    found = [finding for finding in check(pool) if finding.severity == "damaged"]
    assert any("made version 3" in finding.what for finding in found)
    mend(pool)
    assert len(list(pool.glob("*/part-*.parquet"))) == before


def without_csv_and_history(pool: Path) -> Path:
    dataclasses.replace(Settings.read(pool), csv=False, keep_history=False).write(pool)
    draw(Settings.read(pool).inputs[0] / "last.png", 99)
    return pool


def test_a_whole_pool_has_no_finding_after_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 5)
    pool, inputs = tmp_path / "pool", tmp_path / "in"
    for seed in range(4):
        draw(inputs / f"{seed}.png", seed)
    (inputs / "broken.png").write_bytes(b"no picture")
    shutil.copy2(inputs / "0.png", inputs / "copy.png")
    create(pool, Settings(inputs=(inputs,), embedder=PluginChoice("gist")))
    assert check(pool) == []
    commands: list[Callable[[], object]] = [
        lambda: append(pool, Overrides(n_samples=1.0)),
        lambda: append(pool),
        lambda: [draw(inputs / "more" / f"{seed}.png", seed) for seed in range(4, 8)],
        lambda: append(pool, Overrides(keep_embeddings=True, n_samples=1.0)),
        lambda: append(pool, Overrides(), Mode(process_all=True)),
        lambda: Datapool.open(pool).view(),
        lambda: Datapool.open(pool).restore(1),
        lambda: append(pool, Overrides(n_samples=1.0)),
        lambda: Datapool.open(pool).restore(0),
        lambda: append(pool, Overrides(n_samples=1.0, min_distance=0.1), Mode(dry_run=True)),
        lambda: append(pool, Overrides(n_samples=1.0), Mode(process_all=True)),
        lambda: append(without_csv_and_history(pool), Overrides(n_samples=1.0)),
        lambda: append(pool, Overrides(n_samples=1.0), Mode(process_all=True)),
        lambda: shutil.copytree(pool, tmp_path / "copy", copy_function=shutil.copy),
    ]
    for number, command in enumerate(commands):
        command()
        assert (number, list(map(str, check(pool)))) == (number, [])
    assert check(tmp_path / "copy") == []


def test_a_table_that_another_tool_compacted_is_whole(pool: Path) -> None:
    DeltaTable(str(pool / "history")).optimize.compact()
    assert check(pool) == []


def test_rows_that_another_tool_added_are_found(pool: Path) -> None:
    table = DeltaTable(str(pool / "history"))
    write_deltalake(table, table.to_pyarrow_table().slice(0, 1), mode="append")
    assert any("lacks lightpool's note" in finding.what for finding in check(pool))


def test_nothing_is_written_and_a_read_only_pool_can_be_checked(pool: Path) -> None:
    (pool / "datapool_latest.csv").unlink()
    for path in (pool, *pool.rglob("*")):
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    before = tree(pool)
    try:
        assert len(check(pool)) == 1
        assert tree(pool) == before
    finally:
        for path in (pool, *pool.rglob("*")):
            path.chmod(stat.S_IRWXU)


def test_what_is_found_while_a_command_is_at_work_is_not_reported(pool: Path) -> None:
    with writing(pool):
        assert check(pool) == []
        no_file(pool / "datapool_latest.csv")
        with pytest.raises(PoolLocked, match=f"was written to by process {os.getpid()} on"):
            check(pool)
        with pytest.raises(PoolLocked):
            mend(pool)
    assert len(check(pool)) == 1


def test_a_holder_that_is_gone_is_no_writer(pool: Path) -> None:
    import socket

    (pool / ".lock-holder").write_text(f"process 99999999 on {socket.gethostname()} since then")
    no_file(pool / "datapool_latest.csv")
    assert len(check(pool)) == 1


def test_what_is_no_pool_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(PoolNotFound):
            check(path)
        with pytest.raises(PoolNotFound):
            mend(path)


@pytest.fixture(scope="session")
def playground(grown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the pool for one damage after the other, each mended by hand."""
    return Path(shutil.copytree(grown, tmp_path_factory.mktemp("playground") / "pool"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_or_a_cut_file_is_found_or_changes_nothing(
    grown: Path, playground: Path, data: st.DataObject
) -> None:
    files = sorted(path for path in playground.rglob("*") if path.is_file() and path.stat().st_size)
    path = data.draw(st.sampled_from(files), "file")
    where, bit = data.draw(st.floats(0, 1), "where"), data.draw(st.integers(0, 8), "bit")
    original, status = path.read_bytes(), path.stat()
    try:
        if bit == 8:
            path.write_bytes(original[: round(where * (len(original) - 1))])
        else:
            flip(path, where, bit)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        if not any(finding.severity == "damaged" for finding in check(playground)):
            assert content(playground) == content(grown)
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
