from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.lightly_predictions import LightlyPredictions
from lightpool_core.annotating.objects import Found
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef

NAN = [np.nan, np.nan, np.nan]
BOX = [1.0, 2.0, 30.0, 40.0]


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def predict(folder: Path, name: str, *objects: dict[str, Any]) -> None:
    put(folder / Path(name).with_suffix(".json"), {"file_name": name, "predictions": list(objects)})


def seen(category: int, score: float | None = None, probabilities: list[float] | None = None) -> dict[str, Any]:
    given = {"category_id": category, "bbox": BOX, "score": score, "probabilities": probabilities}
    return {key: value for key, value in given.items() if value is not None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A detection of persons (id 5), cars (1) and dogs (9), and a classification of the weather."""
    put(tmp_path / "tasks.json", ["people", "weather"])
    names = {5: "person", 1: "car", 9: "dog"}
    categories = [{"id": id, "name": name} for id, name in names.items()]  # noqa: A001
    put(tmp_path / "people" / "schema.json", {"task_type": "object-detection", "categories": categories})
    kinds = [{"id": 0, "name": "sunny"}, {"id": 1, "name": "clouded"}, {"id": 2, "name": "rainy"}]
    put(tmp_path / "weather" / "schema.json", {"task_description": "classification", "categories": kinds})
    return tmp_path


def found(folder: Path, *names: str) -> dict[str, Found]:
    asked = Asked.of([SampleRef(name, name) for name in names])
    return LightlyPredictions.read(folder).found_in(asked)


def complaint(folder: Path, *names: str) -> str:
    with pytest.raises(SourceError) as caught:
        found(folder, *names)
    assert len(str(caught.value).splitlines()) == 1
    assert str(folder) in str(caught.value)
    return str(caught.value)


def test_objects_are_counted_by_category_in_the_order_of_the_ids(folder: Path) -> None:
    predict(folder / "people", "sub/a.jpg", seen(5, 0.9), seen(5, 0.8), seen(9, 0.5))
    predict(folder / "people", "empty.jpg")
    predictions = found(folder, "empty.jpg", "gone.jpg", "sub/a.jpg")["people"].predictions
    assert predictions.categories == ("car", "person", "dog")
    np.testing.assert_array_equal(predictions.counts, [[0, 0, 0], NAN, [0, 2, 1]])
    np.testing.assert_allclose(predictions.shares, [[0, 0, 0], NAN, [0, 2 / 3, 1 / 3]])


def test_shares_follow_the_probabilities_where_they_are_given(folder: Path) -> None:
    predict(folder / "people", "a.jpg", seen(5, 0.9, [0.1, 0.8, 0.1]), seen(9))
    predictions = found(folder, "a.jpg")["people"].predictions
    np.testing.assert_allclose(predictions.shares, [[0.05, 0.4, 0.55]])


def test_a_frame_of_a_video_has_a_file_of_its_own(folder: Path) -> None:
    predict(folder / "people", "sub/clip-012-mp4.png", seen(5, 0.9))
    predict(folder / "people", "sub/clip.mp4", seen(9, 0.9))
    counts = found(folder, "sub/clip-012-mp4.png", "sub/clip-013-mp4.png")["people"].predictions.counts
    np.testing.assert_array_equal(counts, [[0, 1, 0], NAN])


def test_scores_of_a_detection_are_those_of_its_most_uncertain_object(folder: Path) -> None:
    predict(folder / "people", "a.jpg", seen(1, 0.5, [0.7, 0.2, 0.1]), seen(5, 0.7, [0.4, 0.5, 0.1]))
    predict(folder / "people", "b.jpg", seen(1, 0.4, [0.5, 0.41, 0.09]))
    predict(folder / "people", "empty.jpg")
    scores = found(folder, "a.jpg", "b.jpg", "empty.jpg", "gone.jpg")["people"].scores
    expected = {
        "object_frequency": [2, 1, 0, np.nan],
        "uncertainty_least_confidence": [0.75, 0.75, 0, np.nan],
        "uncertainty_margin": [0.9, 0.91, 0, np.nan],
        "uncertainty_entropy": [0.85867, 0.84547, 0, np.nan],
        "objectness_least_confidence": [0.4, 0.6, 0, np.nan],
    }
    assert scores.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name], values, atol=1e-4)


def test_a_score_without_probabilities_leaves_the_rest_to_the_other_categories(folder: Path) -> None:
    predict(folder / "people", "a.jpg", seen(1, 0.8))
    scores = found(folder, "a.jpg")["people"].scores
    np.testing.assert_allclose(scores["uncertainty_margin"], [1 - (0.8 - 0.1)])
    np.testing.assert_allclose(scores["uncertainty_least_confidence"], [0.2 / (1 - 1 / 3)])


def test_labels_without_scores_have_no_uncertainty(folder: Path) -> None:
    predict(folder / "people", "a.jpg", seen(1), seen(1))
    assert {name: list(v) for name, v in found(folder, "a.jpg")["people"].scores.items()} == {"object_frequency": [2]}
    predict(folder / "people", "b.jpg", seen(1, 1.0))
    margins = found(folder, "a.jpg", "b.jpg")["people"].scores["uncertainty_margin"]
    np.testing.assert_array_equal(margins, [np.nan, 0])


def test_a_classification_counts_its_likeliest_category_once(folder: Path) -> None:
    predict(folder / "weather", "a.jpg", {"category_id": 0, "probabilities": [0.8, 0.1, 0.1]})
    predict(folder / "weather", "b.jpg", seen(1, 0.2), seen(2, 0.7))
    predict(folder / "weather", "c.jpg")
    weather = found(folder, "a.jpg", "b.jpg", "c.jpg")["weather"]
    np.testing.assert_array_equal(weather.predictions.counts, [[1, 0, 0], [0, 0, 1], NAN])
    np.testing.assert_allclose(weather.predictions.shares, [[0.8, 0.1, 0.1], [0, 0, 1], NAN])
    assert set(weather.scores) == {"uncertainty_least_confidence", "uncertainty_margin", "uncertainty_entropy"}
    np.testing.assert_allclose(weather.scores["uncertainty_margin"], [0.3, 1 - (0.7 - 0.15), np.nan])


def test_only_files_of_asked_samples_are_read_and_many_in_their_order(folder: Path) -> None:
    put(folder / "people" / "broken.json", "no JSON")
    names = [f"{i}.jpg" for i in range(1500)]
    for i, name in enumerate(names):
        predict(folder / "people", name, *[seen(1, 0.5)] * (i % 4))
    scores = found(folder, *reversed(names))["people"].scores
    assert scores["object_frequency"].tolist() == [i % 4 for i in reversed(range(1500))]


def test_a_folder_that_knows_no_candidate_shows_one_name_of_each_side(folder: Path) -> None:
    predict(folder / "weather", "sub/a.jpg", seen(0, 0.5))
    said = complaint(folder, "a.jpg", "b.jpg")
    assert said.startswith(f"none of the 2 candidates is in {folder}: it has 'sub/a.jpg', the candidates 'a.jpg'")
    assert set(found(folder, "sub/a.jpg")) == {"people", "weather"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"category_id": 7}, "has category_id 7, which schema.json lacks"),
        ({"bbox": BOX}, "has category_id None, which schema.json lacks"),
        ({"category_id": [1]}, r"has category_id [1], which"),
        ({"category_id": 1, "probabilities": [0.5, 0.5]}, "has 2 probabilities, not one for each of 3 categories"),
        ({"category_id": 1, "probabilities": 0.5}, "has 0.5 probabilities, not one"),
        ({"category_id": 1, "probabilities": [0.9, 0.9, 0.1]}, "has probabilities that add up to 1.9"),
        ({"category_id": 1, "probabilities": [1.5, -0.5, 0]}, "0 or more and add up to 1"),
        ({"category_id": 1, "probabilities": [0, 0, 0]}, "has probabilities that add up to 0"),
        ({"category_id": 1, "probabilities": [1, 0, None]}, "has probabilities that add up to nan"),
        ({"category_id": 1, "probabilities": [1, 0, "x"]}, "has a probability that is no number"),
        ({"category_id": 1, "score": "high"}, "has a score that is no number"),
        ({"category_id": 1, "score": 1.5}, "has the score 1.5, not one from 0 to 1"),
        ([1], "has no list 'predictions' of objects"),
    ],
)
def test_a_bad_object_is_named_with_its_picture(given: Any, said: str, folder: Path) -> None:
    predict(folder / "people", "good.jpg", seen(1, 0.5))
    predict(folder / "people", "sub/bad.jpg", seen(1, 0.5, [1, 0, 0]), given)
    told = complaint(folder, "good.jpg", "sub/bad.jpg")
    assert "the file about sub/bad.jpg in" in told
    assert said in told


def test_a_score_of_nan_is_unknown(folder: Path) -> None:
    predict(folder / "people", "a.jpg", seen(1, float("nan")), seen(1, 0.5))
    assert found(folder, "a.jpg")["people"].scores["objectness_least_confidence"].tolist() == [0.5]


def test_a_file_that_is_no_json_is_named(folder: Path) -> None:
    put(folder / "people" / "a.json", '{"file_name": "a.jpg", "predictions": [')
    assert "people/a.json cannot be read as JSON" in complaint(folder, "a.jpg")


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("tasks.json", {}, "tasks.json is no list of names of tasks"),
        ("tasks.json", ["people", "faces"], "faces/schema.json does not exist"),
        ("people/schema.json", [], "is no object with task_type and categories"),
        ("people/schema.json", {"task_type": "x", "categories": [{"id": 1}]}, "is no object with task_type and"),
        ("people/schema.json", {"task_type": "x", "categories": []}, "has no categories"),
        ("people/schema.json", {"categories": [{"id": 1, "name": "a"}]}, "has no task_type"),
        (
            "people/schema.json",
            {"task_type": "x", "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            "two categories with the same id",
        ),
    ],
)
def test_bad_lists_of_tasks_and_schemas_are_named(place: str, content: Any, said: str, folder: Path) -> None:
    put(folder / place, content)
    assert said in complaint(folder, "a.jpg")


def test_a_folder_without_tasks_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"tasks.json does not exist"):
        LightlyPredictions.read(tmp_path)
