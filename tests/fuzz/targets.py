"""The readers of files from outside, each with valid files to begin from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lightpool_core.settings_file import SETTINGS_NAME
from tests.fuzz import pools, readers, seeds


@dataclass(frozen=True, slots=True)
class Target:
    """A reader, called `name`, of the file `file` in a folder."""

    name: str
    file: str
    reader: Callable[[Path], None]
    seeds: Callable[[], list[bytes]]
    """Valid files."""
    given: str = ""
    """The path that the reader is given, where that is not `file`."""
    beside: Mapping[str, Callable[[], list[bytes]]] = field(default_factory=dict)
    """Other files in the folder."""
    around: Callable[[], Mapping[str, bytes]] = dict
    """More of them, as they are."""
    slow: bool = False
    """True where reading takes so long that a quick pass tries little."""

    def lay_out(self, folder: Path, data: bytes) -> None:
        """Write all files into `folder`, with `data` in the one that is tried."""
        contents = {**self.around(), **{name: made()[0] for name, made in self.beside.items()}, self.file: data}
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def read(self, folder: Path) -> None:
        """Read what was laid out."""
        self.reader(folder / (self.given or self.file))


def _nothing() -> list[bytes]:
    return [b""]


_METADATA = {"m/schema.json": seeds.METADATA_SCHEMA, "m/a.json": seeds.METADATA_FILE}
_PREDICTED = {
    "p/tasks.json": seeds.TASKS, "p/t/schema.json": seeds.PREDICTION_SCHEMA, "p/t/a.json": seeds.PREDICTION_FILE,
}  # fmt: skip
_YOLO = {"y/data.yaml": seeds.YOLO_YAML, "y/labels/a.txt": seeds.YOLO_LABELS, "y/images/a.jpg": _nothing}
_JOURNAL = {"j/journal.json": seeds.journal_header, "j/part-000001.parquet": seeds.journal_part}
_INPUT = dict.fromkeys(("input/a.jpg", "input/sub/b.png", "input/v.mp4"), _nothing)
_IMAGES = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF", "gif": "GIF", "heic": "HEIF", "avif": "AVIF",
    "bmp": "BMP", "ppm": "PPM",
}  # fmt: skip


TARGETS = (
    Target("embeddings-csv", "e.csv", readers.embeddings, seeds.EMBEDDINGS_CSV),
    Target("embeddings-parquet", "e.parquet", readers.embeddings, seeds.embeddings_parquet),
    Target("embeddings-npy", "e.npy", readers.embeddings, seeds.npy),
    Target("table-csv", "t.csv", readers.metadata, seeds.TABLE_CSV),
    Target("table-jsonl", "t.jsonl", readers.metadata, seeds.TABLE_JSONL),
    Target("table-parquet", "t.parquet", readers.metadata, seeds.table_parquet),
    Target("scores-csv", "s.csv", readers.scores, seeds.TABLE_CSV),
    Target("metadata-schema", "m/schema.json", readers.metadata, seeds.METADATA_SCHEMA, "m", _METADATA),
    Target("metadata-file", "m/a.json", readers.metadata, seeds.METADATA_FILE, "m", _METADATA),
    Target("prediction-tasks", "p/tasks.json", readers.predictions, seeds.TASKS, "p", _PREDICTED),
    Target("prediction-schema", "p/t/schema.json", readers.predictions, seeds.PREDICTION_SCHEMA, "p", _PREDICTED),
    Target("prediction-file", "p/t/a.json", readers.predictions, seeds.PREDICTION_FILE, "p", _PREDICTED),
    Target("coco", "c.json", readers.predictions, seeds.COCO),
    Target("yolo-yaml", "y/data.yaml", readers.predictions, seeds.YOLO_YAML, "y", _YOLO),
    Target("yolo-labels", "y/labels/a.txt", readers.predictions, seeds.YOLO_LABELS, "y", _YOLO),
    Target("settings", SETTINGS_NAME, readers.settings, seeds.settings, "."),
    Target("config-json", "c.json", readers.config, seeds.CONFIG_JSON),
    Target("config-yaml", "c.yaml", readers.config, seeds.CONFIG_YAML),
    Target("config-toml", "c.toml", readers.config, seeds.CONFIG_TOML),
    Target("filenames", "list.txt", readers.filenames, seeds.LIST, ".", _INPUT),
    Target("sample-name", "name.txt", readers.name, seeds.SAMPLE_NAMES),
    *(Target(f"image-{name}", f"i.{name}", readers.image, seeds.images(form)) for name, form in _IMAGES.items()),
    Target("checkpoint", "c.ckpt", readers.checkpoint, seeds.checkpoint),
    Target("journal-header", "j/journal.json", readers.journal, seeds.journal_header, "j", _JOURNAL),
    Target("journal-part", "j/part-000001.parquet", readers.journal, seeds.journal_part, "j", _JOURNAL),
    *(
        Target(name, file, pools.read, pools.seeds(name), ".", around=pools.files, slow=True)
        for name, file in pools.PARTS.items()
    ),
)
