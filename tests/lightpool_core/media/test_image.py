from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from lightpool_core.arrays import Pixels
from lightpool_core.errors import DecodeError
from lightpool_core.media.image import read_image

ODD = Path(__file__).parents[3].parent / "shared" / "data" / "odd"
ODD_FILES = sorted(file for folder in ("heif", "pillow") for file in (ODD / folder).glob("*"))

ORIENTATION = 0x0112
QUADRANTS = np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [250, 250, 10]]], np.uint8)
PICTURE = QUADRANTS.repeat(8, axis=0).repeat(16, axis=1)
"""(16, 32, 3): red, green above blue, yellow."""


def close_to(found: Pixels, expected: Pixels, tolerance: int) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance


def pixels_of(file: Path) -> Pixels:
    frame = read_image(file)
    assert (frame.height, frame.width) == frame.pixels.shape[:2]
    return frame.pixels


def decode_reason(file: Path, **how: int) -> str:
    with pytest.raises(DecodeError) as caught:
        read_image(file, **how)
    reason = str(caught.value)
    assert reason
    assert reason.splitlines() == [reason]
    return reason


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "a.TIFF", "a.PNG"])
def test_lossless_formats_come_back_exactly(name: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / name)
    found = pixels_of(tmp_path / name)
    close_to(found, PICTURE, 0)


def test_the_content_counts_and_not_the_extension(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "a.jpg", format="PNG")
    close_to(pixels_of(tmp_path / "a.jpg"), PICTURE, 0)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, PICTURE),
        (2, PICTURE[:, ::-1]),
        (3, PICTURE[::-1, ::-1]),
        (4, PICTURE[::-1]),
        (5, PICTURE.swapaxes(0, 1)),
        (6, np.rot90(PICTURE, -1)),
        (7, PICTURE[::-1, ::-1].swapaxes(0, 1)),
        (8, np.rot90(PICTURE, 1)),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_exif_orientation_is_applied(name: str, orientation: int, upright: Pixels, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(PICTURE).save(tmp_path / name, exif=exif, **({"quality": 100} if name == "a.jpg" else {}))
    found = pixels_of(tmp_path / name)
    assert found.shape == upright.shape
    # The middles of the quadrants: JPEG smears their borders.
    height, width = found.shape[:2]
    middles = np.ix_([height // 4, 3 * height // 4], [width // 4, 3 * width // 4])
    close_to(found[middles], upright[middles], 0 if name == "a.png" else 12)


def test_malformed_exif_says_nothing_about_the_pixels(tmp_path: Path) -> None:
    for exif in (b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*"):
        Image.fromarray(PICTURE).save(tmp_path / "a.jpg", exif=exif, quality=100)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as the pipeline has it
            assert pixels_of(tmp_path / "a.jpg").shape == PICTURE.shape


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(name: str, tmp_path: Path) -> None:
    deep = np.array([[0, 128, 256, 257, 32768, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / name)
    expected = np.array([[0, 0, 1, 1, 128, 255]], np.uint8)
    close_to(pixels_of(tmp_path / name), expected[..., None].repeat(3, axis=2), 0)


def test_a_dark_16_bit_picture_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 256, np.uint16)).save(tmp_path / "a.png")
    assert (pixels_of(tmp_path / "a.png") == 1).all()


@pytest.mark.parametrize(
    ("values", "grey"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 256.0, 65535.0], [0, 1, 255]),
        ([-3.0, 0.25, 1.0], [0, 64, 255]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([float("inf"), 0.0, 1.0], [0, 0, 255]),
        ([0.0, 0.0, 0.0], [0, 0, 0]),
    ],
)
def test_a_float_tiff_is_scaled_by_the_range_that_it_uses(values: list[float], grey: list[int], tmp_path: Path) -> None:
    Image.fromarray(np.array([values], np.float32)).save(tmp_path / "a.tif")
    close_to(pixels_of(tmp_path / "a.tif"), np.array([grey], np.uint8)[..., None].repeat(3, axis=2), 0)


def test_32_bit_grey_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 256, 65535]], np.int32)).save(tmp_path / "a.tif")
    assert pixels_of(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 1, 255]
    Image.fromarray(np.array([[0, 2**30, 2**31 - 1]], np.int32)).save(tmp_path / "b.tif")
    assert pixels_of(tmp_path / "b.tif")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_becomes_rgb(name: str, tmp_path: Path) -> None:
    inks = np.array([[[0, 255, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0]]], np.uint8)
    inks = inks.repeat(16, axis=0).repeat(16, axis=1)
    Image.frombytes("CMYK", (64, 16), inks.tobytes()).save(tmp_path / name)
    found = pixels_of(tmp_path / name)[8, [8, 24, 40, 56]]
    colours = np.array([[255, 0, 0], [255, 255, 255], [0, 0, 0], [0, 255, 255]], np.uint8)
    close_to(found, colours, 8 if name == "a.jpg" else 0)


def test_transparent_parts_show_a_white_ground(tmp_path: Path) -> None:
    pixels = np.array([[[200, 10, 10, 255], [200, 10, 10, 0], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = np.array([[[200, 10, 10], [255, 255, 255], [127, 127, 127]]], np.uint8)
    close_to(pixels_of(tmp_path / "a.png"), expected, 1)


def test_transparent_grey_shows_a_white_ground(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.mode == "LA"
    assert pixels_of(tmp_path / "a.png")[0].tolist() == [[50] * 3, [255] * 3]


def palette_picture() -> Image.Image:
    picture = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    picture.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    return picture


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_a_palette_with_transparency_shows_a_white_ground(transparency: int | bytes, tmp_path: Path) -> None:
    palette_picture().save(tmp_path / "a.png", transparency=transparency)
    expected = [[200, 0, 0], [255, 255, 255], [0, 0, 200]]
    assert pixels_of(tmp_path / "a.png")[0].tolist() == expected


def test_a_palette_without_transparency_keeps_its_colours(tmp_path: Path) -> None:
    palette_picture().save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png")[0].tolist() == [[200, 0, 0], [0, 200, 0], [0, 0, 200]]


def test_a_transparent_colour_of_an_rgb_picture_shows_a_white_ground(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).save(tmp_path / "a.png", transparency=(1, 2, 3))
    assert pixels_of(tmp_path / "a.png")[0].tolist() == [[255] * 3, [4, 5, 6]]


def test_16_bit_grey_with_a_transparent_value_decodes(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 65535]], np.uint16))
    picture.save(tmp_path / "a.png", transparency=0)
    assert pixels_of(tmp_path / "a.png").shape == (1, 2, 3)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png")[0].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_the_first_frame_of_an_animation_counts(name: str, tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    lossless = {"lossless": True} if name == "a.webp" else {}
    first.save(tmp_path / name, save_all=True, append_images=[second], **lossless)
    close_to(pixels_of(tmp_path / name), np.asarray(first), 0)


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(Image.fromarray(PICTURE), srgb, lab, outputMode="LAB")
    assert picture is not None
    picture.save(tmp_path / "a.tif")
    close_to(pixels_of(tmp_path / "a.tif"), PICTURE, 20)


@pytest.mark.parametrize("name", ["a.avif", "a.webp", "a.jpg"])
def test_lossy_formats_of_pillow_decode(name: str, tmp_path: Path) -> None:
    grey = np.full((20, 30, 3), 90, np.uint8)
    Image.fromarray(grey).save(tmp_path / name, quality=95)
    close_to(pixels_of(tmp_path / name), grey, 4)


@pytest.mark.parametrize("name", ["a.heic", "a.heif"])
def test_heif_decodes(name: str, tmp_path: Path) -> None:
    grey = np.full((64, 96, 3), 90, np.uint8)
    pillow_heif.from_pillow(Image.fromarray(grey)).save(tmp_path / name, quality=90)
    close_to(pixels_of(tmp_path / name), grey, 4)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp", "a.bmp", "a.gif", "a.heic"])
def test_a_truncated_file_is_a_decode_error_of_one_line(name: str, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    noise.save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    decode_reason(tmp_path / name)
    (tmp_path / name).write_bytes(content[:12])
    decode_reason(tmp_path / name)


def test_a_text_file_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("not\na picture\n" * 50)
    assert decode_reason(tmp_path / "a.jpg") == "not an image in a known format"


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert decode_reason(tmp_path / "a.png") == "empty file"


def test_a_file_that_the_system_cannot_read_is_not_called_broken(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pixels_of(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        pixels_of(tmp_path / "folder.png")


def test_formats_that_nobody_means_by_these_names_are_refused(tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "eps.jpg", format="EPS")
    Image.fromarray(PICTURE).save(tmp_path / "ico.jpg", format="ICO")
    Image.fromarray(PICTURE).save(tmp_path / "pdf.jpg", format="PDF")
    header = b"8BPS" + bytes([0, 1]) + bytes(6) + bytes([0, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 8, 0, 3])
    (tmp_path / "psd.jpg").write_bytes(header + bytes(12) + bytes(2) + bytes(3))
    for name in ("eps", "ico", "pdf", "psd"):
        assert decode_reason(tmp_path / f"{name}.jpg") == "not an image in a known format"


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5\n60000 60000\n255\n")
    assert "bomb" in decode_reason(tmp_path / "a.pgm")


def scene(width: int, height: int) -> Image.Image:
    """Smooth, so that an average of pixels is close to any of them."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([255 * x / width, 255 * y / height, 255 - 255 * x / width], -1).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "short_side", "shrunk"),
    [
        ((640, 480), 60, (80, 60)),
        ((640, 480), 61, (160, 120)),
        ((640, 480), 120, (160, 120)),
        ((641, 481), 224, (321, 241)),
        ((480, 640), 224, (240, 320)),
        ((640, 480), 1, (80, 60)),
        ((640, 480), 241, (640, 480)),
        ((640, 480), 480, (640, 480)),
        ((640, 480), 2000, (640, 480)),
    ],
)
def test_a_jpeg_comes_as_small_as_is_enough(
    size: tuple[int, int], short_side: int, shrunk: tuple[int, int], tmp_path: Path
) -> None:
    picture = scene(*size)
    picture.save(tmp_path / "a.jpg", quality=95)
    found = read_image(tmp_path / "a.jpg", short_side=short_side)
    assert (found.width, found.height) == size
    assert found.pixels.shape == (shrunk[1], shrunk[0], 3)
    assert min(shrunk) >= min(short_side, *size)
    close_to(found.pixels, np.asarray(picture.resize(shrunk, Image.Resampling.BOX)), 4)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_any_kind_of_jpeg_comes_smaller(mode: str, tmp_path: Path) -> None:
    picture = scene(640, 480).convert(mode)
    picture.save(tmp_path / "a.jpg", quality=95)
    found = read_image(tmp_path / "a.jpg", short_side=120).pixels
    close_to(found, np.asarray(picture.convert("RGB").resize((160, 120), Image.Resampling.BOX)), 6)


def test_a_turned_jpeg_comes_smaller_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = scene(640, 480)
    picture.save(tmp_path / "a.jpg", quality=95, exif=exif)
    found = read_image(tmp_path / "a.jpg", short_side=100)
    assert (found.width, found.height) == (480, 640)
    upright = np.rot90(np.asarray(picture.resize((160, 120), Image.Resampling.BOX)), -1)
    close_to(found.pixels, upright, 4)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_other_formats_come_whole(name: str, tmp_path: Path) -> None:
    scene(640, 480).save(tmp_path / name)
    found = read_image(tmp_path / name, short_side=60)
    assert found.pixels.shape == (480, 640, 3)
    assert (found.width, found.height) == (640, 480)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif"])
def test_more_pixels_than_allowed_are_refused_with_the_limit(name: str, tmp_path: Path) -> None:
    scene(2000, 1000).save(tmp_path / name)
    assert read_image(tmp_path / name, max_pixels=2_000_000).width == 2000
    reason = "2 megapixels, above the limit of 1 (setting max_megapixels)"
    assert decode_reason(tmp_path / name, max_pixels=1_000_000) == reason
    assert decode_reason(tmp_path / name, max_pixels=1_000_000, short_side=10) == reason


def test_a_limit_of_less_than_a_megapixel_is_told_with_its_fraction(tmp_path: Path) -> None:
    scene(100, 100).save(tmp_path / "a.png")
    reason = decode_reason(tmp_path / "a.png", max_pixels=9_999)
    assert reason == "0.01 megapixels, above the limit of 0.009999 (setting max_megapixels)"


@pytest.mark.filterwarnings("ignore")  # Pillow's own, of 90 megapixels and more; as the pipeline has it
def test_a_hundred_megapixels_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    assert decode_reason(tmp_path / "a.png") == "100 megapixels, above the limit of 90 (setting max_megapixels)"
    assert read_image(tmp_path / "a.png", max_pixels=100_000_000).pixels.shape == (10_000, 10_000, 3)


@pytest.mark.filterwarnings("ignore")  # as the pipeline has it
@pytest.mark.skipif(not ODD_FILES, reason="the odd real-world images are not here")
@pytest.mark.parametrize("file", ODD_FILES, ids=lambda file: file.name)
def test_an_odd_file_is_a_picture_or_a_decode_error(file: Path) -> None:
    try:
        pixels = pixels_of(file)
    except DecodeError:
        decode_reason(file)
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.size > 0
