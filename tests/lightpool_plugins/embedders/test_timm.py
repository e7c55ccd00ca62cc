"""Timm on its tiny test networks with random weights: files, options, checkpoints, and errors of one line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Array, unit_rows
from lightpool_core.embedding.checkpoint import Checkpoint
from lightpool_core.embedding.embedder import has_weights, precision_of, preparer_of
from lightpool_core.errors import LightpoolError, PluginUnavailable, SettingsError
from lightpool_core.testing import check_embedder
from lightpool_plugins.embedders.timm_models import Timm
from lightpool_plugins.embedders.timm_network import parsed_arguments, weights_file

DATA = Path(__file__).parents[3] / "shared" / "data"
if not DATA.is_dir():
    DATA = Path(__file__).parents[4] / "shared" / "data"
MOBILENET = DATA / "weights" / "mobilenetv2_100.timm.safetensors"


def saved(path: Path, *, model: str = "test_vit", seed: int = 1, **arguments: Any) -> Path:
    """`path`, holding random weights of `model`."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    state = timm.create_model(model, **arguments).state_dict()
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("weights") / "vit.safetensors")


@pytest.fixture
def tiny(file: Path) -> Timm:
    return Timm(model="test_vit", pretrained=str(file), device="cpu", precision="fp32")


def inputs(embedder: Timm, count: int = 4) -> Array:
    rng = np.random.default_rng(0)
    pictures = (rng.integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(40, 0).repeat(40, 1) for _ in range(count))
    return np.stack([embedder.prepare(picture) for picture in pictures])


def refusal(embedder: Timm) -> LightpoolError:
    """The error at the first use of `embedder`, of one line."""
    with pytest.raises(LightpoolError) as caught:
        _ = embedder.fingerprint
    assert "\n" not in str(caught.value)
    return caught.value


def test_it_follows_the_protocols_and_keeps_its_promised_shapes(tiny: Timm) -> None:
    batch = inputs(tiny)
    embeddings = tiny.embed(batch)
    check_embedder(tiny)
    assert has_weights(tiny)
    assert batch.shape == (4, 160, 160, 3)
    assert tiny.input_size == 320
    assert batch.dtype == np.uint8
    assert embeddings.shape == (4, tiny.dim) == (4, 64)
    assert precision_of(tiny) == "float32 on cpu"
    assert tiny.batch_size >= 16


@pytest.mark.parametrize("model", ["test_resnet", "test_efficientnet"])
def test_convolutional_networks_embed_as_timm_does(tmp_path: Path, model: str) -> None:
    import timm
    import torch

    path = saved(tmp_path / "weights.pth", model=model)
    embedder = Timm(model=model, pretrained=str(path), device="cpu", precision="fp32")
    peer = timm.create_model(model, checkpoint_path=str(path)).eval()
    config = peer.pretrained_cfg
    batch = inputs(embedder)
    with torch.inference_mode():
        mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("mean", "std"))
        pixels = (torch.tensor(batch).permute(0, 3, 1, 2).float() / 255 - mean) / std
        expected = peer.forward_head(peer.forward_features(pixels), pre_logits=True).numpy()
    assert np.allclose(embedder.embed(batch), expected, rtol=0, atol=1e-4)


def test_an_embedding_does_not_depend_on_its_batch(tiny: Timm) -> None:
    batch = inputs(tiny, 9)
    apart = np.concatenate([tiny.embed(batch[row : row + 1]) for row in range(9)])
    assert np.allclose(unit_rows(tiny.embed(batch)), unit_rows(apart), rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_changes_little_and_keeps_the_fingerprint(tiny: Timm, precision: Any) -> None:
    rough = replace(tiny, precision=precision)
    batch = inputs(tiny)
    cosines = (unit_rows(tiny.embed(batch)) * unit_rows(rough.embed(batch))).sum(1)
    assert cosines.min() >= 0.999
    assert rough.fingerprint == tiny.fingerprint
    assert precision_of(rough) == f"{'bfloat16' if precision == 'bf16' else 'float16'} on cpu"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_makes_the_same_embedder_without_the_file(tmp_path: Path, tiny: Timm, precision: Any) -> None:
    path = saved(tmp_path / "gone.safetensors", seed=2)
    original = replace(tiny, pretrained=str(path), precision=precision, size=96, mean="0.4")
    expected = original.embed(inputs(original))
    Checkpoint.of("timm", {}, original).write(tmp_path / "checkpoint")
    path.unlink()
    fresh = replace(original)
    again = Checkpoint.read(tmp_path / "checkpoint").restored(fresh)
    assert isinstance(again, Timm)
    assert again == original
    assert (again.fingerprint, again.dim, again.input_size) == (original.fingerprint, 64, original.input_size)
    assert np.array_equal(again.embed(inputs(again)), expected)
    assert again.with_weights(again.weights()).fingerprint == original.fingerprint


def test_what_workers_get_is_small(tiny: Timm) -> None:
    _ = tiny.fingerprint
    preparer = preparer_of(tiny)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert len(pickle.dumps(preparer)) < 500
    assert np.array_equal(preparer.prepare(picture), tiny.prepare(picture))


def test_other_weights_or_another_preprocessing_are_another_fingerprint(tmp_path: Path, tiny: Timm) -> None:
    same = replace(tiny, pretrained=str(saved(tmp_path / "same.pth")))
    others = [
        replace(tiny, pretrained=str(saved(tmp_path / "other.pth", seed=3))),
        replace(tiny, mean="0.4"),
        replace(tiny, std="0.5,0.5,0.4"),
        replace(tiny, size=96),
    ]
    assert same.fingerprint == tiny.fingerprint
    assert len({tiny.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_size_and_arguments_are_the_models_own_unless_given(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.bin", model="test_resnet", num_classes=7, act_layer="gelu")
    arguments = "num_classes=7, act_layer=gelu"
    embedder = Timm(model="test_resnet", pretrained=str(path), size=64, arguments=arguments, device="cpu")
    recipe = json.loads(embedder.weights()["recipe"])
    assert recipe["arguments"] == {"num_classes": 7, "act_layer": "gelu"}
    assert recipe["size"] == [64, 64]
    assert inputs(embedder).shape == (4, 64, 64, 3)
    plain = saved(tmp_path / "plain.bin", model="test_resnet", num_classes=7)
    swish = Timm(model="test_resnet", pretrained=str(plain), size=64, arguments="num_classes=7", device="cpu")
    assert swish.fingerprint != embedder.fingerprint


def test_arguments_become_numbers_truth_values_and_words() -> None:
    given = "num_classes=1001,pad_type=same,drop_rate=0.5,dynamic_img_size=True,"
    wanted = {"num_classes": 1001, "pad_type": "same", "drop_rate": 0.5, "dynamic_img_size": True}
    assert parsed_arguments(given) == wanted
    assert parsed_arguments("") == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "test_vitt"}, "test_vit"),
        ({"model": "hf-hub:someone/model"}, "knows no model"),
        ({"model": "test_vit.none"}, "test_vit.r160_in1k"),
        ({"model": "test_vit", "pretrained": "missing/weights.pth"}, "no such file"),
        ({"model": "resnet12"}, "knows no model"),
        ({"model": "vit_giant_patch14_224"}, "pretrained=/path"),
    ],
)
def test_wrong_names_say_which_are_right(options: dict[str, Any], words: str) -> None:
    error = refusal(Timm(**options))
    assert isinstance(error, SettingsError)
    assert words in str(error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int8"}, "bf16"),
        ({"size": -1}, "size=-1"),
        ({"mean": "a"}, "mean=a"),
        ({"mean": "0.5,0.5"}, "mean=0.5,0.5"),
        ({"std": "0"}, "above 0"),
        ({"arguments": "num_classes"}, "key=value"),
        ({"arguments": "checkpoint_path=x"}, "pretrained"),
        ({"arguments": "img_size=64"}, "size"),
    ],
)
def test_options_that_mean_nothing_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Timm(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "test_resnet"},
        {"arguments": "num_classes=10"},
        {"arguments": "no_such_argument=1"},
        {"arguments": "class_token=false,global_pool=avg"},
        {"size": 33},
        {"arguments": "global_pool=none"},
    ],
)
def test_what_does_not_fit_is_named(tiny: Timm, options: dict[str, Any]) -> None:
    error = refusal(replace(tiny, **options))
    assert isinstance(error, PluginUnavailable)
    assert "timm" in str(error)
    assert "check model, pretrained and arguments" in str(error)


def test_a_file_that_could_run_code_is_refused(tmp_path: Path, tiny: Timm) -> None:
    mark = tmp_path / "ran"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (mark,))

    (tmp_path / "attack.pth").write_bytes(pickle.dumps({"state_dict": Attack()}))
    assert isinstance(refusal(replace(tiny, pretrained=str(tmp_path / "attack.pth"))), PluginUnavailable)
    assert not mark.exists()


def test_a_missing_device_is_named(tiny: Timm) -> None:
    assert "no-such-device" in str(refusal(replace(tiny, device="no-such-device")))


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
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("offline")
def test_offline_it_says_so_in_one_line_and_soon(capfd: pytest.CaptureFixture[str]) -> None:
    embedder = Timm()
    assert embedder.prepare(np.zeros((8, 8, 3), np.uint8)).shape == (518, 518, 3)
    started = time.monotonic()
    error = refusal(embedder)
    assert time.monotonic() - started < 10
    assert isinstance(error, PluginUnavailable)
    for words in ("neither cached nor reachable", "pretrained=/path", "--embedder gist"):
        assert words in str(error)
    assert capfd.readouterr() == ("", "")


def test_cached_weights_are_found_offline_and_embed(offline: Path, tiny: Timm, file: Path) -> None:
    stored = offline / "models--timm--test_vit.r160_in1k" / "snapshots" / "abc" / "model.safetensors"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(file.read_bytes())
    refs = stored.parents[2] / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert weights_file("test_vit", "") == weights_file("test_vit.r160_in1k", "") == str(stored)
    assert replace(tiny, pretrained="").fingerprint == tiny.fingerprint


def test_importing_and_making_one_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from lightpool_plugins.embedders.timm_models import Timm; Timm(); "
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not MOBILENET.is_file(), reason="real weights are not part of the project")
def test_real_weights_tell_one_scene_from_another() -> None:
    from PIL import Image

    arguments = "num_classes=1001,pad_type=same"
    embedder = Timm("mobilenetv2_100", str(MOBILENET), mean="0.5", std="0.5", arguments=arguments, precision="fp32")
    pictures = [Image.open(path).convert("RGB") for path in sorted((DATA / "neardup" / "base_images").glob("*"))[:4]]
    small = [picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)) for picture in pictures]
    batch = np.stack([embedder.prepare(np.asarray(picture)) for picture in pictures + small])
    rows = unit_rows(embedder.embed(batch))
    distances = np.linalg.norm(rows[:4, None] - rows[None, 4:], axis=2)
    assert np.diag(distances).max() < embedder.near_duplicate < distances[~np.eye(4, dtype=bool)].min()
