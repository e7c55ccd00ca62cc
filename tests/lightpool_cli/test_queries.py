"""Queries of a sampler, from the command line: pictures, members of the pool, texts."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from lightpool_core import Datapool

SAMPLER = """
from dataclasses import dataclass
import numpy as np
from lightpool_core import Selection
from lightpool_core.candidates import Query

@dataclass(frozen=True)
class Alike:
    images: str = ""
    samples: str = ""
    text: str = ""

    @property
    def queries(self):
        asked = [Query(images=self.images)] if self.images else []
        asked += [Query(samples=tuple(self.samples.split(",")))] if self.samples else []
        return (*asked, *([Query(text=self.text)] if self.text else []))

    def select(self, candidates, pool, stop, rng):
        assert set(candidates.queries) == set(self.queries)
        wanted = np.concatenate([candidates.queries[query] for query in self.queries])
        assert np.allclose(np.linalg.norm(wanted, axis=1), 1, atol=1e-5)
        likeness = (candidates.embeddings @ wanted.T).max(axis=1)
        best = np.argsort(-likeness, kind="stable")[: stop.count(len(candidates))]
        return Selection(best, np.full(len(best), 2, np.float32))
"""
EMBEDDER = """
from dataclasses import dataclass
import numpy as np
from PIL import Image

@dataclass(frozen=True)
class Colour:
    speaks: str = "colours"
    dim = 3
    fingerprint = "colour-1"
    input_size = 8
    near_duplicate = 0.0

    def prepare(self, pixels):
        return np.asarray(Image.fromarray(pixels).resize((4, 4)))

    def embed(self, batch):
        return batch.reshape(len(batch), -1, 3).mean(axis=1).astype(np.float32) + 1

    def embed_text(self, texts):
        if self.speaks == "nonsense":
            return np.zeros((len(texts), 2), np.float32)
        if self.speaks == "nothing":
            return np.zeros((len(texts), 3), np.float32)
        return np.array([[float(c in text) for c in ("red", "green", "blue")] for text in texts], np.float32)
"""


@pytest.fixture
def alike(tmp_path):
    (tmp_path / "mine.py").write_text(SAMPLER, encoding="utf-8")
    return ("--sampler", f"{tmp_path / 'mine.py'}:Alike", "--n-samples", 1)


@pytest.fixture
def colour(tmp_path):
    (tmp_path / "colour.py").write_text(EMBEDDER, encoding="utf-8")
    return ("--embedder", f"{tmp_path / 'colour.py'}:Colour")


@pytest.fixture
def inbox(draw, tmp_path):
    """Eight pictures."""
    for seed in range(20, 28):
        draw(tmp_path / "in" / f"{seed}.png", seed)
    return tmp_path / "in"


@pytest.fixture
def painted(tmp_path):
    """A red, a green and a blue picture."""
    from PIL import Image

    (tmp_path / "painted").mkdir()
    for name in ("red", "green", "blue"):
        Image.new("RGB", (32, 24), name).save(tmp_path / "painted" / f"{name}.png")
    return tmp_path / "painted"


def chosen(pool):
    return Datapool.open(pool).filenames


# Pictures


def test_a_folder_of_pictures_is_looked_for_and_leaves_nothing_in_the_pool(lightpool, alike, inbox, draw, tmp_path):
    draw(tmp_path / "wanted" / "like-23.png", 23, size=(128, 96))
    report = lightpool.append(tmp_path / "pool", "--input", inbox, *alike, "-s", f"images={tmp_path / 'wanted'}")
    assert chosen(tmp_path / "pool") == ["23.png"]
    assert report["sources"]["found"] == report["samples"]["candidates"] == 8
    known = {path.name for path in (tmp_path / "pool").rglob("*") if path.is_file()}
    assert not any("like-23" in name for name in known)
    assert "like-23" not in str(Datapool.open(tmp_path / "pool").ledger.about("like-23.png", 1).to_pylist())


def test_a_single_picture_and_a_video_are_looked_for(lightpool, alike, inbox, videos, draw, tmp_path):
    wanted = draw(tmp_path / "like-25.png", 25, size=(128, 96))
    assert lightpool("select", "--input", inbox, "--embedder", "gist", *alike, "-s", f"images={wanted}").lines == [
        "25.png"
    ]
    shutil.copy2(videos["test"], inbox)
    command = ("select", "--input", inbox, "--embedder", "gist", *alike, "-s", f"images={videos['test']}")
    assert lightpool(*command).lines[0].startswith("test-")


def test_broken_pictures_are_passed_over_while_one_is_left(lightpool, alike, inbox, draw, tmp_path, tree):
    (tmp_path / "wanted").mkdir()
    (tmp_path / "wanted" / "broken.png").write_bytes(b"no picture")
    command = ("append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist", *alike)
    message = lightpool.fails(*command, "-s", f"images={tmp_path / 'wanted'}")
    assert "none of 1 files" in message
    assert "broken.png" in message
    assert not list((tmp_path / "pool").iterdir())
    draw(tmp_path / "wanted" / "like-21.png", 21, size=(128, 96))
    lightpool(*command, "-s", f"images={tmp_path / 'wanted'}")
    assert chosen(tmp_path / "pool") == ["21.png"]


def test_a_missing_folder_is_one_line_before_anything_is_embedded(lightpool, alike, inbox, tmp_path):
    command = ("append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist", *alike)
    message = lightpool.fails(*command, "-s", f"images={tmp_path / 'missing'}")
    assert message.startswith("lightpool: query: ")
    assert "missing does not exist" in message
    assert not list((tmp_path / "pool").iterdir())


# Samples


def test_members_of_the_pool_are_looked_for(lightpool, pool, alike, draw, tmp_path):
    for seed in (1, 3, 5):
        draw(tmp_path / "more" / f"{seed}.png", seed, size=(128, 96))
    before = chosen(pool)
    lightpool.append(pool, "--input", tmp_path / "more", *alike, "-s", "samples=first/3.png")
    assert chosen(pool) == [*before, "3.png"]


def test_an_unknown_member_is_named_with_a_close_one(lightpool, pool, alike, draw, tmp_path, tree):
    before = tree(pool)
    draw(tmp_path / "more" / "30.png", 30)
    command = ("append", "--pool", pool, "--input", tmp_path / "more", *alike)
    message = lightpool.fails(*command, "-s", "samples=first/0.png,frist/3.png")
    assert "the sample 'frist/3.png' is not in the pool" in message
    assert "did you mean first/3.png?" in message
    assert tree(pool) == before
    command = ("select", "--input", tmp_path / "more", "--embedder", "gist", *alike)
    assert "give --pool DIR" in lightpool.fails(*command, "-s", "samples=30.png")


def test_a_pool_is_searched_by_its_own_members(lightpool, pool, alike, draw, tmp_path):
    draw(tmp_path / "wanted" / "like-2.png", 2, size=(128, 96))
    assert lightpool("select", "--pool", pool, *alike, "-s", "samples=second/5.png").lines == ["second/5.png"]
    assert lightpool("select", "--pool", pool, *alike, "-s", f"images={tmp_path / 'wanted'}").lines == ["first/2.png"]


# Files of embeddings


def test_rows_of_a_file_and_of_the_pool_are_looked_for(lightpool, pool, alike, tmp_path):
    lightpool("select", "--pool", pool, "--output", tmp_path / "all.csv", "--quiet")
    header, *rows = (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()
    renamed = [row.replace("first/", "other/") for row in rows if not row.startswith("second/")]
    (tmp_path / "some.csv").write_text("\n".join([header, *renamed]) + "\n", encoding="utf-8")
    command = ("select", "--embeddings", tmp_path / "some.csv", *alike)
    assert lightpool(*command, "-s", "samples=other/1.png").lines == ["other/1.png"]
    assert lightpool(*command, "--pool", pool, "-s", "samples=first/3.png").lines == ["other/3.png"]
    assert "is not in the file" in lightpool.fails(*command, "-s", "samples=first/3.png")


@pytest.mark.parametrize("option", ["text=fog", "images=in"])
def test_a_file_has_no_embedder(lightpool, alike, tmp_path, option):
    np.save(tmp_path / "f.npy", np.eye(3))
    message = lightpool.fails("select", "--embeddings", tmp_path / "f.npy", *alike, "-s", option)
    assert "has no embedder" in message
    assert lightpool("select", "--embeddings", tmp_path / "f.npy", *alike, "-s", "samples=2").lines == ["2"]


# Texts


def test_a_text_is_looked_for(lightpool, alike, colour, painted, tmp_path):
    pool = tmp_path / "pool"
    lightpool("append", "--pool", pool, "--input", painted, *colour, *alike, "-s", "text=the green one")
    assert chosen(pool) == ["green.png"]
    lightpool("append", "--pool", pool, "--process-all", "--sampler", "random", "--n-samples", 1.0)
    assert lightpool("select", "--pool", pool, *alike, "-s", "text=blue").lines == ["blue.png"]


def test_an_embedder_without_text_is_named(lightpool, alike, inbox, tmp_path):
    command = ("append", "--pool", tmp_path / "pool", "--input", inbox, "--embedder", "gist", *alike)
    message = lightpool.fails(*command, "-s", "text=a red truck in fog")
    assert "Gist cannot embed the text 'a red truck in fog'" in message
    assert "--embedder open-clip" in message


@pytest.mark.parametrize(("speaks", "words"), [("nonsense", "(1, 2) for texts"), ("nothing", "zero or not finite")])
def test_a_bad_answer_for_a_text_is_blamed_on_the_embedder(lightpool, alike, colour, painted, tmp_path, speaks, words):
    command = ("append", "--pool", tmp_path / "pool", "--input", painted, *colour, "-e", f"speaks={speaks}", *alike)
    message = lightpool.fails(*command, "-s", "text=fog")
    assert "embedder Colour" in message
    assert words in message


def test_all_kinds_of_queries_reach_the_sampler_together(lightpool, alike, colour, painted, tmp_path):
    pool = tmp_path / "pool"
    lightpool("append", "--pool", pool, "--input", painted, *colour)
    options = ("-s", "text=red", "-s", "samples=blue.png", "-s", f"images={painted / 'green.png'}")
    assert len(lightpool("select", "--pool", pool, *alike[:2], "--n-samples", 3, *options).lines) == 3


# Selection configs


def similar(path, **query):
    strategy = {"input": {"type": "EMBEDDINGS", **query}, "strategy": {"type": "SIMILARITY"}}
    path.write_text(json.dumps({"n_samples": 1, "strategies": [strategy]}), encoding="utf-8")
    return path


def test_a_selection_config_looks_for_pictures_beside_it(lightpool, inbox, draw, tmp_path):
    draw(tmp_path / "configs" / "wanted" / "like-22.png", 22, size=(128, 96))
    config = similar(tmp_path / "configs" / "c.json", images="wanted")
    pool = tmp_path / "pool"
    lightpool.append(pool, "--input", inbox, "--config", config)
    assert chosen(pool) == ["22.png"]
    draw(inbox / "again.png", 22, size=(96, 72))
    draw(inbox / "other.png", 40)
    lightpool.append(pool)
    assert chosen(pool) == ["22.png", "again.png"]


def test_a_selection_config_looks_for_members(lightpool, pool, draw, tmp_path):
    for seed in (0, 4):
        draw(tmp_path / "more" / f"{seed}.png", seed, size=(128, 96))
    config = similar(tmp_path / "c.json", samples=["second/4.png"])
    assert lightpool("select", "--pool", pool, "--input", tmp_path / "more", "--config", config).lines == ["4.png"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"images": "missing"}, "input.images: input "),
        ({"samples": ["frist/3.png"]}, "input.samples: the sample 'frist/3.png' is not in the pool"),
        ({"text": "fog"}, "input.text: embedder Gist cannot embed the text 'fog'"),
    ],
)
def test_a_query_that_cannot_be_answered_is_told_with_file_and_place(
    lightpool, pool, draw, tmp_path, tree, query, said
):
    config = similar(tmp_path / "c.json", **query)
    draw(tmp_path / "more" / "30.png", 30)
    before = tree(pool)
    for where in (["select"], ["select", "--input", tmp_path / "more"], ["append", "--input", tmp_path / "more"]):
        message = lightpool.fails(*where, "--pool", pool, "--config", config)
        assert message.startswith(f"lightpool: config {config}: strategies[0].{said}")
    assert tree(pool) == before


def test_a_query_of_the_settings_is_told_with_the_settings_file_and_place(lightpool, inbox, tmp_path):
    pool, config = tmp_path / "pool", similar(tmp_path / "c.json", samples=["20.png"])
    lightpool("init", "--pool", pool, "--input", inbox, "--embedder", "gist", "--config", config)
    message = lightpool.fails("append", "--pool", pool)
    assert message.startswith(
        f"lightpool: settings {pool / 'datapool.toml'}: sampler.strategies[0].input.samples: the sample '20.png' is not"
    )


def test_a_query_of_a_file_without_an_embedder_is_told_with_its_place(lightpool, tmp_path):
    np.save(tmp_path / "f.npy", np.eye(3))
    config = similar(tmp_path / "c.json", text="fog")
    message = lightpool.fails("select", "--embeddings", tmp_path / "f.npy", "--config", config)
    assert message.startswith(
        f"lightpool: config {config}: strategies[0].input.text: the text 'fog' cannot be embedded"
    )


@pytest.fixture
def clip(tmp_path):
    """A folder with a small OpenCLIP model of random weights."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    torch.manual_seed(5)
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    save_file(open_clip.CLIP(**model).state_dict(), tmp_path / "clip" / "open_clip_model.safetensors")
    return tmp_path / "clip"


def test_a_selection_config_looks_for_a_text_with_open_clip(lightpool, clip, inbox, tmp_path):
    from lightpool_core.arrays import unit_rows
    from lightpool_plugins.embedders.open_clip import OpenClip

    pool, config = tmp_path / "pool", similar(tmp_path / "c.json", text="a red truck in fog")
    options = ("--embedder", "open-clip", "-e", f"pretrained={clip}", "-e", "precision=fp32", "--device", "cpu")
    lightpool("append", "--pool", pool, "--input", inbox, *options, "--min-distance", 0)
    ranked = lightpool("select", "--pool", pool, "--config", config, "--n-samples", 8).lines
    text = unit_rows(OpenClip(pretrained=str(clip)).embed_text(["a red truck in fog"]))[0]
    likeness = Datapool.open(pool).embeddings @ text
    assert ranked == [chosen(pool)[row] for row in np.argsort(-likeness)]
    (clip / "open_clip_model.safetensors").unlink()
    message = lightpool.fails("select", "--pool", pool, "--config", config)
    assert message.startswith(f"lightpool: config {config}: strategies[0].input.text: ")
    assert f"text needs the weights pretrained={clip} once more" in message
    shutil.rmtree(clip)
    assert "once more" in lightpool.fails("select", "--pool", pool, "--config", config)
