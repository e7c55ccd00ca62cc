"""OpenClip on a tiny tower with random weights: files, folders, checkpoints, and errors of one line."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Array, unit_rows
from lightpool_core.embedding.embedder import has_weights
from lightpool_core.errors import EmbedderMismatch, LightpoolError, PluginUnavailable, SettingsError
from lightpool_core.testing import check_embedder
from lightpool_plugins.embedders.open_clip import OpenClip
from lightpool_plugins.embedders.open_clip_model import weights_file

TINY: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
NAME = "lightpool-tiny"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weights file of a tiny model that OpenCLIP knows by name while these tests run."""
    import open_clip  # type: ignore[import-untyped]  # has no types

    folder = tmp_path_factory.mktemp("tiny")
    (folder / f"{NAME}.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / f"{NAME}.json")
    yield saved(folder / "weights.pt", seed=1)
    open_clip.factory._MODEL_CONFIGS.pop(NAME)
    open_clip.factory._MODEL_CONFIG_PATHS.pop()


def saved(path: Path, *, seed: int) -> Path:
    """`path`, holding random weights of the tiny model."""
    import open_clip
    import torch

    torch.manual_seed(seed)
    model = open_clip.CLIP(**TINY)
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def tiny(weights: Path) -> OpenClip:
    """An embedder on the tiny model."""
    return OpenClip(model=NAME, pretrained=str(weights), device="cpu", precision="fp32")


def inputs(embedder: OpenClip, count: int = 5) -> Array:
    """A batch of random pictures."""
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1) for _ in range(count))
    return np.stack([embedder.prepare(picture) for picture in pictures])


def refusal(embedder: OpenClip) -> LightpoolError:
    """The error at the first use of `embedder`, of one line."""
    with pytest.raises(LightpoolError) as caught:
        _ = embedder.fingerprint
    assert "\n" not in str(caught.value)
    return caught.value


def test_it_follows_the_protocols_and_keeps_its_promised_shapes(tiny: OpenClip) -> None:
    batch = inputs(tiny)
    embeddings = tiny.embed(batch)
    check_embedder(tiny)
    assert has_weights(tiny)
    assert batch.shape == (5, 32, 32, 3)
    assert batch.dtype == np.uint8
    assert embeddings.shape == (5, tiny.dim) == (5, 24)
    assert embeddings.dtype == np.float32


def test_it_embeds_as_open_clip_does(tiny: OpenClip, weights: Path) -> None:
    import open_clip
    import torch

    peer = open_clip.create_model(NAME, str(weights)).eval()
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    batch = inputs(tiny)
    with torch.inference_mode():
        pixels = (torch.tensor(batch).permute(0, 3, 1, 2).float() / 255 - mean[:, None, None]) / std[:, None, None]
        expected = peer.encode_image(pixels).numpy()
    assert np.allclose(tiny.embed(batch), expected, rtol=0, atol=1e-5)


def test_the_borders_of_a_wide_picture_count(tiny: OpenClip) -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    marked = wide.copy()
    marked[:, :15] = 255
    assert not np.array_equal(tiny.prepare(wide), tiny.prepare(marked))


def test_an_embedding_does_not_depend_on_its_batch(tiny: OpenClip) -> None:
    batch = inputs(tiny, 9)
    apart = np.concatenate([tiny.embed(batch[row : row + 1]) for row in range(9)])
    assert np.allclose(unit_rows(tiny.embed(batch)), unit_rows(apart), rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_changes_little_and_keeps_the_fingerprint(tiny: OpenClip, precision: Any) -> None:
    rough = replace(tiny, precision=precision)
    batch = inputs(tiny)
    cosines = (unit_rows(tiny.embed(batch)) * unit_rows(rough.embed(batch))).sum(1)
    assert cosines.min() >= 0.999
    assert rough.fingerprint == tiny.fingerprint


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_make_the_same_embedder_without_the_file(tmp_path: Path, tiny: OpenClip, precision: Any) -> None:
    import torch

    original = replace(tiny, pretrained=str(saved(tmp_path / "gone.pt", seed=2)), precision=precision)
    expected = original.embed(inputs(original))
    torch.save(original.weights(), tmp_path / "checkpoint")
    (tmp_path / "gone.pt").unlink()
    again = original.with_weights(torch.load(tmp_path / "checkpoint", weights_only=True))
    assert again == original
    assert again.fingerprint == original.fingerprint
    assert np.array_equal(again.embed(inputs(again)), expected)
    assert again.with_weights(again.weights()).fingerprint == original.fingerprint


def test_other_weights_or_another_activation_are_another_fingerprint(tmp_path: Path, tiny: OpenClip) -> None:
    same = replace(tiny, pretrained=str(saved(tmp_path / "same.pt", seed=1)))
    other = replace(tiny, pretrained=str(saved(tmp_path / "other.pt", seed=3)))
    recipe = json.loads(tiny.weights()["recipe"]) | {"quick_gelu": True}
    quick = tiny.with_weights({**tiny.weights(), "recipe": json.dumps(recipe)})
    assert same.fingerprint == tiny.fingerprint
    assert len({tiny.fingerprint, other.fingerprint, quick.fingerprint}) == 3


def test_a_folder_brings_its_own_configuration(tmp_path: Path, tiny: OpenClip) -> None:
    import torch
    from safetensors.torch import save_file

    mean = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}
    config = tmp_path / "open_clip_config.json"
    config.write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    save_file(
        torch.load(saved(tmp_path / "w.pt", seed=1), weights_only=True),
        tmp_path / "open_clip_model.safetensors",
    )
    assert OpenClip(pretrained=str(tmp_path)).fingerprint == tiny.fingerprint
    config.write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": mean}))
    assert OpenClip(pretrained=str(tmp_path)).fingerprint != tiny.fingerprint


def test_only_the_image_tower_stays(tiny: OpenClip) -> None:
    names = tiny.weights()["visual"]
    assert "proj" in names
    assert not any(name.startswith(("text", "transformer.text", "token_embedding")) for name in names)


# Texts


def test_texts_are_embedded_as_open_clip_does(tiny: OpenClip, weights: Path) -> None:
    import open_clip
    import torch

    texts = ["a red truck in fog", "A Photo, of nothing!", ""]
    peer = open_clip.create_model(NAME, str(weights)).eval()
    with torch.inference_mode():
        expected = peer.encode_text(open_clip.get_tokenizer(NAME)(texts)).numpy()
    assert np.array_equal(tiny.embed_text(texts), expected)
    assert expected.dtype == np.float32


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_texts_are_the_same_in_any_precision(tiny: OpenClip, precision: Any) -> None:
    assert np.array_equal(replace(tiny, precision=precision).embed_text(["fog"]), tiny.embed_text(["fog"]))


def test_a_checkpoint_reads_texts_with_the_original_weights(tiny: OpenClip) -> None:
    assert np.array_equal(tiny.with_weights(tiny.weights()).embed_text(["fog"]), tiny.embed_text(["fog"]))


def test_without_the_original_weights_text_is_refused_in_one_line(tmp_path: Path, tiny: OpenClip) -> None:
    gone = saved(tmp_path / "gone.pt", seed=2)
    original = replace(tiny, pretrained=str(gone))
    stored = original.with_weights(original.weights())
    gone.unlink()
    assert len(stored.embed(inputs(stored))) == 5
    with pytest.raises(PluginUnavailable, match=r"text needs the weights pretrained=\S*gone.pt once more") as caught:
        stored.embed_text(["fog"])
    assert "\n" not in str(caught.value)


def test_texts_of_other_weights_are_refused(tmp_path: Path, tiny: OpenClip) -> None:
    file = saved(tmp_path / "w.pt", seed=2)
    original = replace(tiny, pretrained=str(file))
    stored = original.with_weights(original.weights())
    saved(file, seed=3)
    with pytest.raises(EmbedderMismatch, match="not those that this pool was made with"):
        stored.embed_text(["fog"])


def test_a_folder_embeds_texts_too(tmp_path: Path, tiny: OpenClip) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    state = torch.load(saved(tmp_path / "w.pt", seed=1), weights_only=True)
    save_file(state, tmp_path / "open_clip_model.safetensors")
    assert np.array_equal(OpenClip(pretrained=str(tmp_path)).embed_text(["fog"]), tiny.embed_text(["fog"]))


@pytest.mark.usefixtures("offline")
def test_a_tokenizer_that_is_out_of_reach_is_named(tmp_path: Path, weights: Path, tiny: OpenClip) -> None:
    import open_clip

    config = {**TINY, "text_cfg": {**TINY["text_cfg"], "hf_tokenizer_name": "no-such/tokenizer"}}
    (tmp_path / f"{NAME}-hf.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / f"{NAME}-hf.json")
    try:
        with pytest.raises(PluginUnavailable, match="no-such/tokenizer") as caught:
            replace(tiny, model=f"{NAME}-hf").embed_text(["fog"])
        assert "\n" not in str(caught.value)
    finally:
        open_clip.factory._MODEL_CONFIGS.pop(f"{NAME}-hf")
        open_clip.factory._MODEL_CONFIG_PATHS.pop()


# Weights from anywhere


@pytest.mark.parametrize(
    ("model", "pretrained", "quick_gelu", "mean", "size"),
    [
        ("ViT-B-32", "datacomp_xl_s13b_b90k", False, 0.48145466, 224),
        ("ViT-B-32", "openai", True, 0.48145466, 224),
        ("ViT-B-32-quickgelu", "openai", True, 0.48145466, 224),
        ("ViT-B-16-SigLIP-384", "webli", False, 0.5, 384),
    ],
)
def test_a_tag_decides_activation_and_preprocessing(
    model: str, pretrained: str, quick_gelu: bool, mean: float, size: int
) -> None:
    embedder = OpenClip(model=model, pretrained=pretrained)
    recipe = embedder._recipe
    assert (recipe.quick_gelu, recipe.mean[0], embedder.input_size) == (quick_gelu, mean, 2 * size)


def test_a_weights_file_is_preprocessed_as_its_model_is(weights: Path) -> None:
    assert OpenClip(model="ViT-B-16-SigLIP", pretrained=str(weights))._recipe.mean == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "ViT-B-33"}, "ViT-B-32"),
        ({"pretrained": "no_such_tag"}, "datacomp_xl_s13b_b90k"),
        ({"pretrained": "missing/weights.pt"}, "no such file"),
        ({"model": "ViT-S-32"}, "weights file"),
    ],
)
def test_wrong_names_say_which_are_right(options: dict[str, Any], words: str) -> None:
    error = refusal(OpenClip(**options))
    assert isinstance(error, SettingsError)
    assert words in str(error)


def test_an_unknown_precision_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="bf16"):
        OpenClip(precision="int8")  # type: ignore[arg-type]  # the mistake under test


def test_weights_that_do_not_fit_are_named(weights: Path) -> None:
    error = refusal(OpenClip(model="ViT-B-32", pretrained=str(weights)))
    assert isinstance(error, PluginUnavailable)
    assert str(weights) in str(error)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path, tiny: OpenClip) -> None:
    mark = tmp_path / "ran"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (mark,))

    (tmp_path / "attack.pt").write_bytes(pickle.dumps({"state_dict": Attack()}))
    assert isinstance(refusal(replace(tiny, pretrained=str(tmp_path / "attack.pt"))), PluginUnavailable)
    assert not mark.exists()


def test_a_folder_without_configuration_or_weights_is_refused(tmp_path: Path) -> None:
    assert isinstance(refusal(OpenClip(pretrained=str(tmp_path))), SettingsError)
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY}))
    assert isinstance(refusal(OpenClip(pretrained=str(tmp_path))), PluginUnavailable)


def test_a_missing_device_is_named(tiny: OpenClip) -> None:
    assert "no-such-device" in str(refusal(replace(tiny, device="no-such-device")))


def test_loading_leaves_logging_as_it_was(tiny: OpenClip) -> None:
    root, hub = logging.getLogger(), logging.getLogger("huggingface_hub")
    before = list(root.handlers), list(root.filters), hub.level
    _ = tiny.fingerprint
    assert (list(root.handlers), list(root.filters), hub.level) == before


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download cache, and proxies where nobody listens."""
    from huggingface_hub import constants

    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # read from HF_HOME at import
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path


@pytest.mark.usefixtures("offline")
def test_offline_it_says_so_in_one_line_and_soon(capfd: pytest.CaptureFixture[str]) -> None:
    embedder = OpenClip()
    assert (embedder.dim, embedder.input_size) == (512, 448)
    started = time.monotonic()
    error = refusal(embedder)
    assert time.monotonic() - started < 10
    assert isinstance(error, PluginUnavailable)
    for words in ("neither cached nor reachable", "pretrained=/path", "--embedder gist"):
        assert words in str(error)
    assert capfd.readouterr() == ("", "")


def test_cached_weights_are_found_offline(offline: Path) -> None:
    import open_clip

    repository = open_clip.get_pretrained_cfg("ViT-B-32", "openai")["hf_hub"].strip("/")
    cached = offline / f"models--{repository.replace('/', '--')}"
    stored = cached / "snapshots" / "abc" / "open_clip_model.safetensors"
    stored.parent.mkdir(parents=True)
    stored.touch()
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    assert weights_file("ViT-B-32", "openai") == str(stored)


def test_importing_and_making_one_imports_neither_torch_nor_open_clip() -> None:
    code = (
        "import sys; from lightpool_plugins.embedders.open_clip import OpenClip; OpenClip(); "
        "assert not {'torch', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
