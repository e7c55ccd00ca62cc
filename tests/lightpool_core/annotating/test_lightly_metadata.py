from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.files import AnnotationFiles, annotated
from lightpool_core.annotating.lightly_metadata import LightlyMetadata
from lightpool_core.annotations import Annotations
from lightpool_core.errors import SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef

SCHEMA = [
    {"name": "Scene", "path": "scene", "defaultValue": "undefined", "valueDataType": "CATEGORICAL_STRING"},
    {"name": "Temp", "path": "weather.temperature", "defaultValue": None, "valueDataType": "NUMERIC_FLOAT"},
    {"name": "Vehicle", "path": "vehicle_id", "defaultValue": 0, "valueDataType": "CATEGORICAL_INT"},
    {"name": "Night", "path": "night", "valueDataType": "CATEGORICAL_BOOLEAN"},
]


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def tell(folder: Path, name: str, kind: str, **metadata: Any) -> None:
    put(folder / Path(name).with_suffix(".json"), {"file_name": name, "type": kind, "metadata": metadata})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / ".lightly" / "metadata"
    put(place / "schema.json", SCHEMA)
    tell(place, "sub/a.jpg", "image", scene="city", weather={"temperature": 23, "wind": {"speed": 4}}, vehicle_id=321)
    tell(place, "b.jpg", "image", night=True, tags=["x"], sun="low", speed=1, mixed=1)
    tell(place, "sub/clip.mp4", "video", scene="harbour", vehicle_id=7, mixed="a")
    tell(place, "sub/clip-012-mp4.png", "frame", scene="street")
    put(place / "unasked.json", "this is no JSON, and nobody asks for it")
    return place


def asked(*names: str) -> Asked:
    return Asked.of([SampleRef(name, name) for name in names])


def lists(columns: Any) -> dict[str, list[Any]]:
    return {key: [None if value != value else value for value in column] for key, column in columns.items()}


def test_nested_values_are_addressed_with_dots_and_typed_by_the_schema(folder: Path) -> None:
    columns = LightlyMetadata.read(folder).columns_for(asked("b.jpg", "sub/a.jpg", "gone.jpg"))
    assert lists(columns) == {
        "scene": [None, "city", None],
        "weather.temperature": [None, 23.0, None],
        "vehicle_id": [None, 321.0, None],
        "night": [True, None, None],
        "weather.wind.speed": [None, 4.0, None],
        "sun": ["low", None, None],
        "speed": [1.0, None, None],
        "mixed": [1.0, None, None],
    }
    assert {name: column.dtype.kind for name, column in columns.items() if column.dtype.kind != "f"} == {
        "scene": "O",
        "night": "O",
        "sun": "O",
    }


def test_the_file_of_a_video_applies_to_its_frames_which_may_have_their_own(folder: Path) -> None:
    columns = LightlyMetadata.read(folder).columns_for(asked("sub/clip-000-mp4.png", "sub/clip-012-mp4.png", "b.jpg"))
    assert columns["scene"].tolist() == ["harbour", "street", None]
    assert lists(columns)["vehicle_id"] == [7.0, 7.0, None]
    assert columns["mixed"].tolist() == ["a", "a", "1"]
    decoded = Asked.of([SampleRef("other.png", "sub/clip.mp4", 3, 0.1)])
    assert LightlyMetadata.read(folder).columns_for(decoded)["scene"].tolist() == ["harbour"]


def test_the_folder_above_and_the_datasource_lead_to_the_same(folder: Path) -> None:
    for place in (folder, folder.parent, folder.parent.parent):
        assert LightlyMetadata.read(place).folder == folder


def test_defaults_of_the_schema_hold_where_nothing_else_is_known(folder: Path) -> None:
    files = AnnotationFiles.open(folder, None, None)
    refs = [SampleRef(name, name) for name in ("sub/a.jpg", "b.jpg", "gone.jpg")]
    known = annotated(refs, Annotations({"scene": asked_before()}), files)
    assert known.metadata["scene"].tolist() == ["city", "undefined", "forest"]
    assert known.metadata["vehicle_id"].tolist() == [321.0, 0.0, 0.0]
    assert known.metadata["night"].tolist() == [None, True, None]


def asked_before() -> Any:
    import numpy as np

    return np.array(["field", None, "forest"], dtype=object)


def test_a_file_about_a_picture_of_another_name_is_not_taken(folder: Path) -> None:
    tell(folder, "c.jpg", "image", scene="desert")
    columns = LightlyMetadata.read(folder).columns_for(asked("c.png", "c.jpg"))
    assert columns["scene"].tolist() == [None, "desert"]


def test_a_folder_that_knows_no_candidate_shows_one_name_of_each_side(folder: Path) -> None:
    (folder / "unasked.json").unlink()
    with pytest.raises(SourceError) as caught:
        LightlyMetadata.read(folder).columns_for(asked("images/b.jpg", "images/c.jpg"))
    expected = f"none of the 2 candidates is in {folder}: it has 'b.jpg', the candidates 'images/b.jpg'"
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"file_name": "b.jpg", ', "b.json cannot be read as JSON"),
        ("[]", "b.json holds no JSON object"),
        ({"file_name": "b.jpg"}, "the file about b.jpg in"),
        ({"metadata": {"vehicle_id": "x"}}, "metadata of b.jpg in"),
        ({"metadata": {"night": 1}}, "night is 1, but true or false by the schema"),
        ({"metadata": {"weather": {"temperature": True}}}, "weather.temperature is True, but a number by the schema"),
    ],
)
def test_a_bad_file_is_named_in_one_line(content: Any, said: str, folder: Path) -> None:
    put(folder / "b.json", content)
    with pytest.raises(SourceError) as caught:
        LightlyMetadata.read(folder).columns_for(asked("b.jpg"))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "cannot be read as JSON"),
        ([{"name": "Scene"}], "is no list of objects with name, path"),
        ([{"path": "scene", "valueDataType": "TEXT"}], "scene has the valueDataType 'TEXT', not one of NUMERIC_INT"),
        ([{"path": "n", "valueDataType": "NUMERIC_INT", "defaultValue": "x"}], "defaultValue of n is 'x', but a"),
    ],
)
def test_a_bad_schema_is_named(content: Any, said: str, folder: Path) -> None:
    put(folder / "schema.json", content)
    with pytest.raises(SourceError) as caught:
        LightlyMetadata.read(folder)
    assert str(folder / "schema.json") in str(caught.value)
    assert said in str(caught.value)


def test_a_folder_without_a_schema_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"metadata schema .*schema.json does not exist"):
        LightlyMetadata.read(tmp_path)
