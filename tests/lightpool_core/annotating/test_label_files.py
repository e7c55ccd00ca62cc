from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.label_files import read_label_files
from lightpool_core.annotating.objects import Found
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef


def found(path: Path, *names: str) -> dict[str, Found]:
    return read_label_files(path).found_in(Asked.of([SampleRef(name, name) for name in names]))


def complaint(path: Path, *names: str) -> str:
    with pytest.raises(SourceError) as caught:
        found(path, *names)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)
    return str(caught.value)


def coco(tmp_path: Path, **changes: Any) -> Path:
    content = {
        "images": [{"id": i, "file_name": f"sub/{i}.jpg", "width": 64, "height": 48} for i in range(3)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 2, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.9},
            {"id": 2, "image_id": 0, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.6},
            {"id": 3, "image_id": 2, "category_id": 2, "bbox": [1, 2, 3, 4]},
        ],
        **changes,
    }
    (tmp_path / "street.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / "street.json"


def yolo(tmp_path: Path, *, lines: str = "1 0.5 0.5 0.2 0.2\n1 0.2 0.2 0.1 0.1\n0 0.4 0.4 0.2 0.2\n") -> Path:
    """Two splits, with label files and no pictures."""
    root = tmp_path / "traffic"
    for split, name, content in (("train", "a", lines), ("train", "b", ""), ("val", "sub/c", "2 0.5 0.5 1 1\n")):
        path = root / "labels" / split / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    text = "path: .\ntrain: images/train\nval: images/val\nnames: {0: car, 1: dog, 2: bus}\n"
    (root / "data.yaml").write_text(text, encoding="utf-8")
    return root


def test_a_coco_file_is_a_task_called_like_it(tmp_path: Path) -> None:
    street = found(coco(tmp_path), "sub/2.jpg", "sub/1.jpg", "gone.jpg", "sub/0.jpg")["street"]
    assert street.predictions.categories == ("car", "dog")
    np.testing.assert_array_equal(street.predictions.counts, [[1, 0], [0, 0], [np.nan, np.nan], [0, 2]])
    np.testing.assert_array_equal(street.predictions.shares, [[1, 0], [0, 0], [np.nan, np.nan], [0, 1]])
    np.testing.assert_array_equal(street.scores["object_frequency"], [1, 0, np.nan, 2])
    np.testing.assert_allclose(street.scores["uncertainty_margin"], [np.nan, 0, np.nan, 1 - (0.6 - 0.4)])
    np.testing.assert_allclose(street.scores["objectness_least_confidence"], [np.nan, 0, np.nan, 0.25])


def test_a_yolo_data_set_is_a_task_called_like_its_folder(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    for path in (root, root / "data.yaml"):
        traffic = found(path, "sub/c.jpg", "b.png", "a.jpg", "gone.jpg")["traffic"]
        assert traffic.predictions.categories == ("car", "dog", "bus")
        np.testing.assert_array_equal(traffic.predictions.counts, [[0, 0, 1], [0, 0, 0], [1, 2, 0], [np.nan] * 3])
        assert list(traffic.scores) == ["object_frequency"]


def test_what_labelformat_logs_of_pictures_without_labels_is_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        found(yolo(tmp_path), "a.jpg", "gone.jpg")
    assert caplog.records == []


def test_yolo_labels_with_confidences_are_refused_with_what_to_do(tmp_path: Path) -> None:
    said = complaint(yolo(tmp_path, lines="1 0.5 0.5 0.2 0.2 0.9\n"), "a.jpg")
    assert "labels/train/a.txt" in said
    assert "give predictions with scores as a COCO file or a Lightly folder" in said


def test_a_category_that_yolo_has_no_name_for_is_refused(tmp_path: Path) -> None:
    said = complaint(yolo(tmp_path, lines="5 0.5 0.5 0.2 0.2\n"), "a.jpg")
    assert "labels/train/a.txt" in said
    assert ": 5" in said


def test_label_files_that_know_no_candidate_show_one_name_of_each_side(tmp_path: Path) -> None:
    said = complaint(coco(tmp_path), "0.jpg", "1.jpg")
    assert f"none of the 2 candidates is in {tmp_path / 'street.json'}: it has 'sub/0.jpg'" in said
    root = yolo(tmp_path)
    said = complaint(root, "train/a.jpg")
    assert "the candidates 'train/a.jpg'" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"categories": [{"id": 2, "name": "car"}]}, "id 7 is used and defined nowhere"),
        ({"images": []}, "id 0 is used and defined nowhere"),
        ({"images": [{"id": 0, "file_name": "a.jpg"}], "annotations": []}, "an entry has no 'width'"),
        ({"categories": None}, "cannot be read as COCO"),
        ({"annotations": [{"image_id": 0, "category_id": 7, "bbox": [1, 2]}]}, "cannot be read as COCO"),
        ({"annotations": [{"image_id": 0, "category_id": 7, "bbox": [1] * 4, "score": 7}]}, "between 0 and 1"),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}, {"id": 2, "name": "c"}]}, "the same id"),
        (
            {"images": [{"id": i, "file_name": "a.jpg", "width": 1, "height": 1} for i in range(3)]},
            "two pictures 'a.jpg'",
        ),
    ],
)
def test_what_is_wrong_with_a_coco_file_is_said_in_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    assert said in complaint(coco(tmp_path, **changes), "a.jpg")


def test_files_of_no_known_form_are_named(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[{", encoding="utf-8")
    assert "cannot be read as COCO" in complaint(tmp_path / "p.json", "a.jpg")
    (tmp_path / "p.json").write_text('[{"image_id": 1}]', encoding="utf-8")
    assert "cannot be read as COCO" in complaint(tmp_path / "p.json", "a.jpg")
    (tmp_path / "p.txt").touch()
    assert "is no form of predictions" in complaint(tmp_path / "p.txt", "a.jpg")
    for content in ("names: [a", "names: [a]\n", "5", "", "train: images\n", "train: pictures\nnames: [a]\n"):
        (tmp_path / "p.yaml").write_text(content, encoding="utf-8")
        assert "cannot be read as YOLO" in complaint(tmp_path / "p.yaml", "a.jpg")
    with pytest.raises(SourceNotFound, match=r"gone does not exist; predictions are such a folder"):
        read_label_files(tmp_path / "gone")
    with pytest.raises(SourceNotFound, match=r"holds neither tasks.json \(Lightly\) nor data.yaml \(YOLO\)"):
        read_label_files(tmp_path)
