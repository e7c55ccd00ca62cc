from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from lightpool_core.arrays import Array, Pixels
from lightpool_core.errors import SettingsError
from lightpool_core.media import quality
from lightpool_core.media.quality import KNOWN, MEASURED, has_to_be_measured, measured

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def flat(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> Pixels:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def noise(height: int = 200, width: int = 300, seed: int = 0) -> Pixels:
    """Grey, every pixel drawn alone."""
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, 1), dtype=np.uint8)
    return np.repeat(drawn, 3, axis=2)


def looks(pixels: Pixels, name: str) -> float:
    return measured(pixels)[f"lightly.{name}"]


def test_every_name_has_a_number_of_at_most_six_decimals() -> None:
    found = measured(noise())
    assert sorted(found) == sorted(MEASURED)
    assert all(type(value) is float and value == round(value, 6) for value in found.values())


@pytest.mark.parametrize(
    ("colour", "luminance"),
    [(BLACK, 0), (WHITE, 100), ((119, 119, 119), 50.03), ((188, 188, 188), 76.2)],  # L* of grey, any converter
)
def test_a_picture_of_one_grey_has_its_lightness_and_nothing_else(
    colour: tuple[int, int, int], luminance: float
) -> None:
    found = measured(flat(colour))
    assert found["lightly.luminance"] == pytest.approx(luminance, abs=0.1)
    assert found["lightly.uniformRowRatio"] == 1
    assert [found[f"lightly.{name}"] for name in ("contrast", "sharpness", "snr")] == [0, 0, 0]


def test_the_mean_colour_is_told_by_channel() -> None:
    half = np.concatenate([flat((255, 51, 0)), flat((0, 51, 102))])
    assert [looks(half, f"mean.{name}") for name in ("red", "green", "blue")] == [0.5, 0.2, 0.2]


def test_an_edge_has_the_contrast_and_the_sharpness_of_the_formulas() -> None:
    edge = np.concatenate([flat(BLACK), flat(WHITE)], axis=1)
    assert looks(edge, "contrast") == 0.5
    assert looks(edge, "snr") == 1
    # Two of the 118 inner columns answer, with 255 and -255.
    assert looks(edge, "sharpness") == pytest.approx(255 * np.sqrt(2 / 118), abs=1e-6)


def test_noise_is_as_sharp_as_its_variance_says() -> None:
    deviation = np.sqrt((256**2 - 1) / 12)
    found = measured(noise(400, 600))
    assert found["lightly.contrast"] == pytest.approx(deviation / 255, rel=0.01)
    assert found["lightly.snr"] == pytest.approx(127.5 / deviation, rel=0.01)
    assert found["lightly.sharpness"] == pytest.approx(deviation * np.sqrt(4**2 + 4), rel=0.01)


def test_the_more_a_picture_is_blurred_the_less_sharp_it_is() -> None:
    picture = Image.fromarray(noise()).resize((600, 400), Image.Resampling.BICUBIC)
    blurred = [np.asarray(picture.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2, 4)]
    sharp = [looks(pixels, "sharpness") for pixels in blurred]
    assert sharp == sorted(sharp, reverse=True)
    assert sharp[0] > 10 * sharp[-1]


def test_whole_pictures_measure_what_their_bands_add_up_to() -> None:
    for height, width in itertools.product((3, 4, 31, 32, 33, 34, 35, 65, 66), (3, 7, 50)):
        pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(np.float64)
        inner = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
        found = measured(pixels)
        assert found["lightly.sharpness"] == pytest.approx(inner.std(), abs=1e-6)
        assert found["lightly.contrast"] == pytest.approx(grey.std() / 255, abs=1e-6)
        assert found["lightly.snr"] == pytest.approx(grey.mean() / grey.std(), abs=1e-6)
        assert found["lightly.mean.red"] == pytest.approx(pixels[..., 0].mean() / 255, abs=1e-6)


def test_rows_that_are_the_same_all_along_are_counted() -> None:
    striped = noise(102, 60)
    striped[20:40] = 77
    assert looks(striped, "uniformRowRatio") == 18 / 100  # those with their like above and below
    striped[60:90, :2] = 0
    assert looks(striped, "uniformRowRatio") == 18 / 100


def test_a_row_may_have_some_pixels_unlike_the_others() -> None:
    frame = noise(12, 202)
    frame[1:11] = 100
    frame[5, 100] = 200  # seen by 3 of the 200 inner pixels of its own and of both rows beside it
    assert looks(frame, "uniformRowRatio") == 8 / 10
    frame[5, [50, 150]] = 200  # 9 of 200 are more than 3 %
    assert looks(frame, "uniformRowRatio") == 5 / 10


def test_a_ramp_is_smooth_and_so_its_rows_are_uniform() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 50, axis=0).repeat(3, axis=2)
    assert looks(ramp, "uniformRowRatio") == 1


def test_stripes_of_a_tall_picture_count_for_their_share_of_it() -> None:
    tall = noise(1080, 1920)
    tall[300:408] = 30
    assert looks(tall, "uniformRowRatio") == pytest.approx(0.1, abs=0.01)
    assert looks(noise(1080, 1920), "uniformRowRatio") == 0


@pytest.mark.parametrize(("height", "width"), [(401, 300), (1080, 1920), (2000, 3), (999, 5000)])
def test_tall_pictures_are_made_smaller_as_torch_does_without_antialiasing(height: int, width: int) -> None:
    grey = noise(height, width)[..., 0]
    size = (400, max(3, width * 400 // height))
    wanted: Array = torch.nn.functional.interpolate(
        torch.from_numpy(grey)[None, None].float(), size, mode="bilinear", antialias=False
    )[0, 0].numpy()
    np.testing.assert_allclose(quality._at_most_tall(grey), wanted, atol=0.2)  # it places pixels in float32


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 50), (50, 2)])
def test_pictures_without_inner_pixels_are_neither_sharp_nor_striped(height: int, width: int) -> None:
    found = measured(noise(height, width))
    assert (found["lightly.sharpness"], found["lightly.uniformRowRatio"]) == (0, 0)


def test_pixels_are_left_as_they_are() -> None:
    pixels = noise(500, 300)
    before = pixels.copy()
    pixels.flags.writeable = False
    measured(pixels)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize(
    ("keys", "needed"),
    [([], False), (["weather", "camera.id"], False), ([*KNOWN], False), (["lightly.width", "lightly.snr"], True)],
)
def test_only_names_of_what_is_measured_ask_for_it(keys: list[str], needed: bool) -> None:
    assert has_to_be_measured(frozenset(keys)) is needed


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("lightly.sharpnes", r"did you mean lightly\.sharpness\?"),
        ("lightly.uniformrowratio", r"did you mean lightly\.uniformRowRatio\?"),
        ("lightly.blur", r"take one of lightly\.contrast, .* lightly\.mean\.red, lightly\.sharpness, "),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_one_that_does(key: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"^metadata '{key}' is nothing that is computed; {hint}"):
        has_to_be_measured({key})
