"""Predictions in the forms of COCO and YOLO, read by the library labelformat.

It reads detections: category, box and, from COCO, a score. N: samples. K: objects.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.objects import AT_ONCE, Found, Objects, Tally
from lightpool_core.errors import SourceError, SourceNotFound

if TYPE_CHECKING:
    from labelformat.formats.yolov8 import YOLOv8ObjectDetectionInput
    from labelformat.model.category import Category
    from labelformat.model.object_detection import ImageObjectDetection

_SPLITS = ("train", "val", "test")
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OSError, RuntimeError, ArithmeticError)
"""What labelformat raises where a file is not what it expects."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A JSON file with `images`, `categories` and `annotations`, in memory; its task is called like the file."""

    path: Path
    categories: tuple[Category, ...]
    pictures: tuple[ImageObjectDetection, ...]

    @classmethod
    def read(cls, path: Path) -> CocoFile:
        """The file at `path`. Raises SourceError naming it."""
        from labelformat.formats.coco import COCOObjectDetectionInput

        with _reading(path, "COCO"):
            given = COCOObjectDetectionInput(path)
            pictures = tuple(given.get_labels())
            if not all(isinstance(picture.image.filename, str) for picture in pictures):
                raise ValueError("an image has a file_name that is no text")
            return cls(path, _checked(given.get_categories()), pictures)

    def found_in(self, asked: Asked) -> dict[str, Found]:
        """What is known of the samples. Raises SourceError where that is nothing."""
        theirs = self.pictures[0].image.filename if self.pictures else None
        return {self.path.stem: _found(self.path, asked, self.categories, self.pictures, theirs)}


@dataclass(frozen=True, slots=True)
class YoloFolder:
    """A `data.yaml` and the folders of label files it tells of; the task is called like its folder."""

    path: Path
    splits: tuple[YOLOv8ObjectDetectionInput, ...]

    @classmethod
    def read(cls, path: Path) -> YoloFolder:
        """The `data.yaml` at `path`. Raises SourceError naming it."""
        import yaml
        from labelformat.formats.yolov8 import YOLOv8ObjectDetectionInput

        with _reading(path, "YOLO"):
            try:
                given = yaml.safe_load(path.read_text(encoding="utf-8"))
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from error
            splits = [split for split in _SPLITS if given.get(split)]
            if not splits:
                raise ValueError(f"it has none of {', '.join(_SPLITS)}")
            for key in ("path", *splits):
                if not isinstance(given.get(key, ""), str | int):
                    raise ValueError(f"{key} is no text")
            return cls(path, tuple(YOLOv8ObjectDetectionInput(path, split) for split in splits))

    def found_in(self, asked: Asked) -> dict[str, Found]:
        """What is known of the samples. Raises SourceError where that is nothing, and naming a bad label file."""
        from labelformat.model.image import Image

        # Boxes are not looked at, so nobody needs to open the pictures for their sizes.
        images = [Image(row, name, 1, 1) for row, name in enumerate(asked.names)]
        with _reading(self.path, "YOLO"), _complaints() as complaints:
            pictures = []
            for split in self.splits:
                split.get_images = lambda: images  # type: ignore[method-assign]
                pictures += list(split.get_labels())
            categories = _checked(self.splits[0].get_categories())
        if complaints:
            raise SourceError(
                f"{self.path}: {complaints[0]} labelformat reads five numbers in a line, category and box;"
                " give predictions with scores as a COCO file or a Lightly folder"
            )
        theirs = None if pictures else self._example()
        return {self.path.absolute().parent.name: _found(self.path, asked, categories, pictures, theirs)}

    def _example(self) -> str | None:
        """The name of some picture beside the label files."""
        with _reading(self.path, "YOLO"):
            for split in self.splits:
                for image in type(split).get_images(split):
                    return image.filename
        return None


def read_label_files(path: Path) -> CocoFile | YoloFolder:
    """A COCO file, a YOLO `data.yaml`, or a folder that holds the latter. Raises SourceError."""
    file = path / "data.yaml" if path.is_dir() else path
    if not file.is_file():
        what = "holds neither tasks.json (Lightly) nor data.yaml (YOLO)" if path.is_dir() else "does not exist"
        raise SourceNotFound(f"{path} {what}; predictions are such a folder, a COCO .json or a YOLO .yaml")
    if file.suffix.lower() in {".yaml", ".yml"}:
        return YoloFolder.read(file)
    if file.suffix.lower() == ".json":
        return CocoFile.read(file)
    raise SourceError(f"{file} is no form of predictions; give a Lightly folder, a COCO .json or a YOLO .yaml")


def _checked(categories: Iterable[Category]) -> tuple[Category, ...]:
    """The `categories`, their names as text. Raises ValueError for those that are none."""
    checked = tuple(categories)
    for category in checked:
        if not isinstance(category.id, int) or not isinstance(category.name, str | int | float | bool):
            raise ValueError("a category has an id that is no whole number, or a name that is no text")
    return tuple(dataclasses.replace(category, name=str(category.name)) for category in checked)


def _found(
    path: Path,
    asked: Asked,
    categories: Sequence[Category],
    pictures: Sequence[ImageObjectDetection],
    theirs: str | None,
) -> Found:
    """What `pictures` say of the samples; `theirs` is the name of any picture in the file."""
    ordered = sorted(categories, key=lambda category: category.id)
    columns = {category.id: column for column, category in enumerate(ordered)}
    if len(columns) < len(ordered):
        raise SourceError(f"{path} has two categories with the same id")
    wanted = {name: row for row, name in enumerate(asked.names)}
    of: dict[int, ImageObjectDetection] = {}
    for picture in pictures:
        row = wanted.get(picture.image.filename)
        if row in of:
            raise SourceError(f"{path} has two pictures {picture.image.filename!r}; leave one")
        if row is not None:
            of[row] = picture
    asked.check_known(len(of), path, theirs)
    tally = Tally(len(asked), tuple(category.name for category in ordered))
    known = iter(of.items())
    while some := list(islice(known, AT_ONCE)):
        tally.add(np.array([row for row, _ in some]), _objects(some, columns))
    return tally.found(single=False)


def _objects(some: Sequence[tuple[int, ImageObjectDetection]], columns: Mapping[int, int]) -> Objects:
    flat = [(row, found) for row, picture in some for found in picture.objects]
    confidences = [np.nan if found.confidence is None else found.confidence for _, found in flat]
    return Objects(
        np.array([row for row, _ in flat], dtype=np.int64),
        np.array([columns[found.category.id] for _, found in flat], dtype=np.int64),
        np.array(confidences, dtype=np.float64),
        np.full((len(flat), len(columns)), np.nan),
    )


@contextmanager
def _reading(path: Path, form: str) -> Iterator[None]:
    """Whatever labelformat cannot read as a SourceError."""
    try:
        yield
    except KeyError as error:
        key = error.args[0]
        reason = f"an entry has no {key!r}" if isinstance(key, str) else f"id {key} is used and defined nowhere"
        raise SourceError(f"{path} cannot be read as {form}: {reason}") from error
    except _UNREADABLE as error:
        raise SourceError(f"{path} cannot be read as {form}: {' '.join(str(error).split())}") from error


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What labelformat logs about label files, all but that there are none for some picture."""
    said: list[str] = []

    def listen(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "does not exist" not in message:
            said.append(message)
        return False  # and nobody else hears it

    logger = logging.getLogger("labelformat.formats.yolov8")
    logger.addFilter(listen)
    try:
        yield said
    finally:
        logger.removeFilter(listen)
