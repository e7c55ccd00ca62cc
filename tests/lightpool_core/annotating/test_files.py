from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.annotating.files import AnnotationFiles, annotated, foreseen
from lightpool_core.annotations import Annotations, Predictions
from lightpool_core.arrays import Array
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef

REFS = (SampleRef("a.jpg", "a.jpg"), SampleRef("b.jpg", "b.jpg"), SampleRef("clip-0-mp4.png", "clip.mp4", 0, 0.0))


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def objects(*values: Any) -> Array:
    return np.array(values, dtype=object)


def known(
    before: Annotations, *, metadata: Path | None = None, predictions: Path | None = None, scores: Path | None = None
) -> Annotations:
    return annotated(REFS, before, AnnotationFiles.open(metadata, predictions, scores))


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    folder = tmp_path / ".lightly" / "predictions"
    put(folder / "tasks.json", '["cars"]')
    put(folder / "cars" / "schema.json", '{"task_type": "object-detection", "categories": [{"id": 0, "name": "car"}]}')
    for name in ("a", "b"):
        found = {"file_name": f"{name}.jpg", "predictions": [{"category_id": 0, "score": 0.75}]}
        put(folder / "cars" / f"{name}.json", json.dumps(found))
    return tmp_path


def test_without_files_all_stays_as_it_is() -> None:
    before = Annotations({"width": np.array([1, 2, 3])})
    assert known(before) is before


def test_columns_of_files_join_those_that_are_there(tmp_path: Path, detections: Path) -> None:
    metadata = put(tmp_path / "m.csv", "filename,weather\na.jpg,fog\nclip.mp4,rain\n")
    scores = put(tmp_path / "s.csv", "filename,cars/loss,al_score,note\na.jpg,0.5,,x\nb.jpg,nan,0.25,y\n")
    faces = Predictions(("face",), np.zeros((3, 1)), np.zeros((3, 1)))
    before = Annotations({"lightly.sharpness": np.array([1.0, 2, 3])}, {"x": np.zeros(3)}, {"faces": faces})
    found = known(before, metadata=metadata, predictions=detections, scores=scores)
    assert found.metadata["lightly.sharpness"].tolist() == [1, 2, 3]
    assert found.metadata["weather"].tolist() == ["fog", None, "rain"]
    np.testing.assert_array_equal(found.scores["cars/loss"], [0.5, np.nan, np.nan])
    np.testing.assert_array_equal(found.scores["al_score"], [np.nan, 0.25, np.nan])
    np.testing.assert_allclose(found.scores["cars/uncertainty_margin"], [0.5, 0.5, np.nan])
    assert "note" not in found.scores
    assert "x" in found.scores
    assert set(found.predictions) == {"faces", "cars"}
    np.testing.assert_array_equal(found.predictions["cars"].counts, [[1], [1], [np.nan]])


def test_a_file_wins_where_it_knows_something(tmp_path: Path, detections: Path) -> None:
    metadata = put(tmp_path / "m.csv", "filename,width,weather,kind,open\na.jpg,7,fog,3,\n")
    scores = put(tmp_path / "s.csv", "filename,cars/object_frequency\nb.jpg,9\n")
    before = Annotations(
        {
            "width": np.array([1, 2, 3]),
            "weather": objects("sun", "sun", None),
            "kind": objects("x", "y", "z"),
            "open": objects("yes", "no", "yes"),
        }
    )
    found = known(before, metadata=metadata, predictions=detections, scores=scores)
    assert found.metadata["width"].tolist() == [7, 2, 3]
    assert found.metadata["weather"].tolist() == ["fog", "sun", None]
    np.testing.assert_array_equal(found.metadata["kind"], [3, np.nan, np.nan])  # numbers and texts do not mix
    assert found.metadata["open"].tolist() == ["yes", "no", "yes"]
    np.testing.assert_array_equal(found.scores["cars/object_frequency"], [1, 9, np.nan])


def test_a_table_of_scores_needs_finite_numbers(tmp_path: Path) -> None:
    for text, said in (
        ("filename,note\na.jpg,x\n", "has no column of numbers"),
        ("filename,s\na.jpg,0\nb.jpg,inf\n", "the score 's' of b.jpg is infinite"),
    ):
        with pytest.raises(SourceError, match=said):
            known(Annotations(), scores=put(tmp_path / "s.csv", text))


def test_files_that_know_nobody_are_refused_only_where_somebody_is_required(tmp_path: Path, detections: Path) -> None:
    metadata = put(tmp_path / "m.csv", "filename,x\nimages/a.jpg,1\n")
    files = AnnotationFiles.open(metadata, detections, metadata)
    others = (SampleRef("z.jpg", "z.jpg"),)
    with pytest.raises(SourceError, match="none of the 1 candidates is in"):
        annotated(others, Annotations(), files)
    found = annotated(others, Annotations(), files, required=False)
    np.testing.assert_array_equal(found.scores["x"], [np.nan])
    np.testing.assert_array_equal(found.predictions["cars"].counts, [[np.nan]])
    assert annotated((), Annotations(), files).metadata["x"].shape == (0,)


def test_what_is_missing_shows_before_any_sample_is_asked_for(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for paths in ((gone, None, None), (None, gone, None), (None, None, gone)):
        with pytest.raises(SourceNotFound, match=str(gone)):
            AnnotationFiles.open(*paths)


def test_the_columns_of_files_are_known_before_any_sample_is(tmp_path: Path, detections: Path) -> None:
    metadata = put(tmp_path / "m.csv", "filename,weather,iso\na.jpg,fog,100\n")
    scores = put(tmp_path / "s.csv", "filename,cars/loss,note\na.jpg,0.5,x\n")
    files = AnnotationFiles.open(metadata, detections, scores)
    found, before = foreseen(Annotations(), files, ["wether"]), annotated(REFS, Annotations(), files)
    assert [(name, column.dtype) for name, column in found.metadata.items()] == [("weather", "O"), ("iso", "f8")]
    assert found.metadata.keys() == before.metadata.keys()
    assert found.predictions["cars"].categories == ("car",)
    assert found.scores.keys() == before.scores.keys()
    assert not any(map(len, (*found.metadata.values(), *found.scores.values(), found.predictions["cars"].counts)))


def test_files_about_single_pictures_may_hold_more_than_their_schema(tmp_path: Path) -> None:
    schema = [{"name": "Weather", "path": "weather", "defaultValue": "sun", "valueDataType": "CATEGORICAL_STRING"}]
    put(tmp_path / "schema.json", json.dumps(schema))
    files = AnnotationFiles.open(tmp_path, None, None)
    assert foreseen(Annotations(), files, ["weather", "camera.id"]).metadata.keys() == {"weather", "camera.id"}
    assert foreseen(Annotations(), files, ["weather"]).metadata["weather"].dtype == object


def test_scores_without_a_number_are_refused_before_any_sample_is_known(tmp_path: Path) -> None:
    scores = put(tmp_path / "s.csv", "filename,note\na.jpg,x\n")
    with pytest.raises(SourceError, match="no column of numbers"):
        foreseen(Annotations(), AnnotationFiles.open(None, None, scores), [])


@pytest.mark.parametrize("place", [".", ".lightly", ".lightly/predictions"])
def test_predictions_are_found_from_the_datasource_down(place: str, detections: Path) -> None:
    assert set(known(Annotations(), predictions=detections / place).predictions) == {"cars"}
