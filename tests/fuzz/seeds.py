"""Valid files to damage, small, made here."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.embedding.journal import Journal, Maker
from lightpool_core.embedding.pictures import Ending, Picture
from lightpool_core.settings import PluginChoice, Settings
from lightpool_core.settings_file import SETTINGS_NAME
from lightpool_plugins.embedders.gist import Gist

NAMES = ("a.jpg", "sub/b.png", "v-3-mp4.png")
MAKER = Maker("fingerprint", "float32 on cpu", 2)
KEYS = ("key a", "key v")
STRATEGIES = [
    {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1}},
    {
        "input": {"type": "METADATA", "key": "weather.temperature"},
        "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER"},
        "strength": 2.5,
    },
    {
        "input": {"type": "PREDICTIONS", "task": "t", "name": "CLASS_DISTRIBUTION"},
        "strategy": {"type": "BALANCE", "target": {"car": 0.25, "person": 0.75}},
    },
    {"input": {"type": "EMBEDDINGS", "images": "queries"}, "strategy": {"type": "SIMILARITY"}},
]
CONFIG = {"n_samples": 20, "strategies": STRATEGIES}


def text(*files: str) -> Callable[[], list[bytes]]:
    """Files as they are written here."""
    return lambda: [file.encode() for file in files]


def as_json(*values: Any) -> Callable[[], list[bytes]]:
    """A JSON file of each value."""
    return lambda: [json.dumps(value, indent=1).encode() for value in values]


EMBEDDINGS_CSV = text(
    "filenames,embedding_0,embedding_1,labels\na.jpg,1,0,0\nsub/b.png,0.6,0.8,1\n",
    "filenames,embedding_0,embedding_1,masked,selected,labels,weather,note\n"
    'a.jpg,1.0,-0.5,0,1,0,rain,"x, ""y"""\n"b,\nb.png",0.6,0.8,1,0,3,,\nv-3-mp4.png,3e-3,-4.0,0,0,1,sun,é\n',
)
TABLE_CSV = text(
    "filename,score,weather,day,night\na.jpg,0.5,rain,2024-01-01,true\nsub/b.png,,sun,,\nv.mp4,1e3,,2024-02-01,false\n",
    "score,file_name\n1,a.jpg\n-2,b.png\n",
)
TABLE_JSONL = text(
    '{"filename": "a.jpg", "score": 0.5, "weather": {"is": "rain", "temperature": 3}, "all": [1, 2]}\n'
    '{"filename": "v.mp4", "score": null, "at": "2024-01-01T00:00:00"}\n'
)
METADATA_SCHEMA = as_json([
    {"name": "n", "path": "weather.temperature", "defaultValue": 0.5, "valueDataType": "NUMERIC_FLOAT"},
    {"name": "m", "path": "city", "defaultValue": "nowhere", "valueDataType": "CATEGORICAL_STRING"},
    {"name": "o", "path": "night", "defaultValue": None, "valueDataType": "CATEGORICAL_BOOLEAN"},
])  # fmt: skip
METADATA_FILE = as_json({
    "file_name": "a.jpg",
    "type": "image",
    "metadata": {"weather": {"temperature": 3, "kind": "rain"}, "city": "Ulm", "night": True, "other": 7},
})  # fmt: skip
TASKS = as_json(["t"])
PREDICTION_SCHEMA = as_json({
    "task_type": "object-detection",
    "categories": [{"id": 0, "name": "car"}, {"id": 5, "name": "person"}],
})  # fmt: skip
PREDICTION_FILE = as_json({
    "file_name": "a.jpg",
    "predictions": [
        {"category_id": 0, "bbox": [0, 1, 2, 3], "score": 0.5, "probabilities": [0.25, 0.75]},
        {"category_id": 5, "score": 1},
    ],
})  # fmt: skip
COCO = as_json({
    "images": [{"id": 1, "file_name": "a.jpg", "width": 8, "height": 6}],
    "categories": [{"id": 1, "name": "car"}, {"id": 3, "name": "person"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 1, 2, 3], "score": 0.5, "iscrowd": 0}],
})  # fmt: skip
YOLO_YAML = text(
    "train: images\nnc: 2\nnames:\n  0: car\n  1: person\n",
    "train: images\nnames: [car, person]\n",
)
YOLO_LABELS = text("0 0.5 0.5 0.25 0.125\n1 0.1 0.2 0.3 0.4\n")
CONFIG_JSON = as_json(CONFIG, {"selection_config": {"proportion_samples": 0.5, "strategies": STRATEGIES[:1]}})
CONFIG_TOML = text(
    "n_samples = 20\n[[strategies]]\ninput = {type = 'EMBEDDINGS'}\nstrategy.type = 'DIVERSITY'\nstrength = 1.5\n"
    "[[strategies]]\n[strategies.input]\ntype = 'RANDOM'\nrandom_seed = 3\n[strategies.strategy]\ntype = 'WEIGHTS'\n"
)
CONFIG_YAML = text(
    "n_samples: 20  # so many\nstrategies:\n- input: {type: METADATA, key: weather}\n"
    "  strategy:\n    type: BALANCE\n    distribution: TARGET\n    target: {rain: 0.5, sun: .5}\n  strength: 2\n"
    "- &a\n  input: {type: SCORES, task: t, score: s}\n  strategy: {type: WEIGHTS}\n"
)
LIST = text("a.jpg\nsub/b.png\n\n  v.mp4  \n")
SAMPLE_NAMES = text("sub/my_video-099-mp4.png", "a.b-c/v.mov", "a.jpg", "x-1-y-22-mkv.png")


def settings() -> list[bytes]:
    """As `init` and a selection config leave them."""
    full = Settings(
        inputs=(Path("/data/in"), Path("/data/more")),
        filenames=Path("/data/list.txt"),
        embedder=PluginChoice("gist"),
        sampler=PluginChoice("combined", {"strategies": CONFIG["strategies"]}),
        n_samples=0.25,
        min_distance=0.5,
        min_seconds=2.0,
        max_per={"video": 4, "weather": 10},
        metadata=Path("/data/metadata.csv"),
        sequence_length=4,
        fps=None,
    )
    return [_file_of(lambda folder, one=one: one.write(folder), SETTINGS_NAME) for one in (Settings(), full)]


def npy() -> list[bytes]:
    """Bare arrays, unit rows and others."""
    kinds = (np.eye(2, dtype=np.float32), np.arange(1, 7).reshape(3, 2), np.asfortranarray(np.ones((2, 3))))
    return [_stream_of(lambda stream, one=one: np.save(stream, one)) for one in kinds]


def embeddings_parquet() -> list[bytes]:
    """With columns, and with a column of lists and a dictionary."""
    flat = pa.table({
        "filenames": NAMES, "embedding_0": [1.0, 0.5, 0.25], "embedding_1": [0.5, 1.0, 2.0], "labels": [0, 1, 2],
        "masked": [0, 1, 0], "selected": [None, 0, 1], "weather": ["rain", None, "sun"],
    })  # fmt: skip
    lists = pa.table({
        "filename": pa.array(NAMES).dictionary_encode(),
        "embedding": pa.array([[1.0, 0.5], [0.5, 1.0], [0.25, 2.0]], pa.list_(pa.float32(), 2)),
        "label": [0, 1, 2], "depth": pa.array([1.5, None, 3.0]),
    })  # fmt: skip
    return [_parquet(flat), _parquet(lists)]


def table_parquet() -> list[bytes]:
    """Numbers, words, times, a struct and a list."""
    return [_parquet(pa.table({
        "filename": ["a.jpg", "sub/b.png", "v.mp4"],
        "score": [0.5, None, 2.5],
        "night": [True, None, False],
        "at": pa.array([0, 1, None], pa.timestamp("us")),
        "weather": [{"is": "rain", "temperature": 3}, None, {"is": "sun", "temperature": 9}],
        "city": pa.array(["Ulm", None, "Rom"]).dictionary_encode(),
        "list": [[1], [], None],
    }))]  # fmt: skip


def images(form: str) -> Callable[[], list[bytes]]:
    """Pictures in a form of Pillow's: colours, grey, a palette and depth where it has them, and EXIF."""

    def made() -> list[bytes]:
        ramp = np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3)
        picture = Image.fromarray(ramp)
        exif = Image.Exif()
        exif[0x0112] = 6
        kinds = [picture, picture.convert("L")]
        if form in {"PNG", "TIFF", "GIF", "WEBP"}:
            kinds += [picture.convert("P" if form == "GIF" else "RGBA")]
        if form in {"PNG", "TIFF"}:
            kinds += [Image.fromarray(np.arange(384, dtype=np.uint16).reshape(16, 24) * 170)]
        if form == "TIFF":
            kinds += [Image.fromarray(np.linspace(0, 1, 384, dtype=np.float32).reshape(16, 24)), picture.convert("LAB")]
        options: dict[str, Any] = {"exif": exif} if form not in {"BMP", "PPM", "GIF"} else {}
        files = [_stream_of(lambda stream, one=one: one.save(stream, form, **options)) for one in kinds]
        packed = ("tiff_lzw", "tiff_adobe_deflate", "jpeg") if form == "TIFF" else ()
        files += [_stream_of(lambda stream, how=how: picture.save(stream, form, compression=how)) for how in packed]
        return files

    return made


def checkpoint() -> list[bytes]:
    """Of an embedder without weights, and of one with some."""
    import torch

    gist = Gist()
    weights = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}
    with_weights = Checkpoint("mine", {"model": "m", "size": 3}, "mine-0123", 2, weights)
    return [
        _file_of(lambda folder, one=one: one.write(folder / "c.ckpt"), "c.ckpt")
        for one in (Checkpoint.of("gist", {}, gist), with_weights)
    ]


def journal_header() -> list[bytes]:
    """What made the embeddings."""
    return [_journal_file("journal.json")]


def journal_part() -> list[bytes]:
    """Two pictures, a frame among them, and how their sources ended."""
    return [_journal_file("part-000001.parquet")]


def _journal_file(name: str) -> bytes:
    def write(folder: Path) -> None:
        journal = Journal(folder / "journal", MAKER)
        pictures = [(KEYS[0], Picture("d0", 8, 6, None, None)), (KEYS[1], Picture("d1", 8, 6, 0, 0.0))]
        journal.add(pictures, np.eye(2, dtype=np.float32), [(KEYS[0], Ending(1, 1)), (KEYS[1], Ending(3, 1))])

    return _file_of(write, f"journal/{name}")


def _parquet(table: pa.Table) -> bytes:
    return _stream_of(lambda stream: parquet.write_table(table, stream))


def _stream_of(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _file_of(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return (Path(folder) / name).read_bytes()
