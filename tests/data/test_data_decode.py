"""Tests of decoding: image modes, orientation, size, and files that cannot be read."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.data.decode import Picture, decode, decode_all, decode_stored, fit_pixels
from nas.errors import DataError


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def read(data: bytes, resolution: int = 8) -> Picture:
    picture = decode({"bytes": data, "path": None}, root=Path(), resolution=resolution)
    assert picture is not None
    return picture


def plain(mode: str, color: object) -> Image.Image:
    return Image.new(mode, (8, 8), color)  # type: ignore[arg-type]  # any color of its mode


def single_color(picture: Picture) -> tuple[int, ...]:
    colors = np.unique(picture.pixels.reshape(-1, 3), axis=0)
    assert len(colors) == 1
    return tuple(int(value) for value in colors[0])


@pytest.mark.parametrize(
    ("image", "color", "gray"),
    [
        (plain("RGB", (1, 2, 3)), (1, 2, 3), False),
        (plain("L", 77), (77, 77, 77), True),
        (plain("1", 1), (255, 255, 255), True),
        (plain("LA", (50, 255)), (50, 50, 50), True),
        (plain("RGBA", (10, 20, 30, 255)), (10, 20, 30), False),
        (plain("RGBA", (10, 20, 30, 0)), (255, 255, 255), False),
        (plain("I;16", 65535), (255, 255, 255), True),
        (plain("I;16", 257 * 100), (100, 100, 100), True),
        (plain("RGB", (9, 8, 7)).quantize(4), (9, 8, 7), False),
    ],
    ids=["rgb", "gray", "bits", "gray alpha", "opaque", "transparent", "16 bits", "16 bits mid", "palette"],
)
def test_modes_become_three_channels(image: Image.Image, color: tuple[int, ...], gray: bool) -> None:
    picture = read(encoded(image))
    assert single_color(picture) == color
    assert picture.gray is gray


def test_a_transparent_palette_color_becomes_white() -> None:
    data = encoded(plain("P", 0), transparency=0)
    assert single_color(read(data)) == (255, 255, 255)


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    red, green, blue = single_color(read(encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG")))
    assert red > 240
    assert max(green, blue) < 15


def halves(first: tuple[int, int, int], second: tuple[int, int, int]) -> NDArray[np.uint8]:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8], pixels[8:] = first, second
    return pixels


def test_the_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    data = encoded(Image.fromarray(halves((255, 255, 255), (0, 0, 0))), "PNG", exif=exif)
    pixels = read(data, 16).pixels
    assert pixels[:8].max() == 0
    assert pixels[8:].min() == 255


def test_a_wide_image_is_center_cropped() -> None:
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 200
    picture = read(encoded(Image.fromarray(pixels)))
    assert single_color(picture) == (200, 200, 200)
    assert picture.size == (24, 8)


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (21, 12), (12, 21), (31, 64), (5, 3)], ids=str)
def test_the_center_is_cropped_with_whole_pixels_and_resized_as_by_pillow(size: tuple[int, int]) -> None:
    image = Image.effect_noise(size, 90).convert("RGB")
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    expected = image.crop((left, top, left + side, top + side)).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read(encoded(image)).pixels, np.asarray(expected))
    np.testing.assert_array_equal(fit_pixels(np.asarray(image), 8), np.asarray(expected))


def test_pixels_outside_of_the_center_have_no_influence() -> None:
    pixels = np.full((20, 33, 3), 90, np.uint8)
    pixels[:, :6] = pixels[:, 26:] = 255
    assert single_color(read(encoded(Image.fromarray(pixels)))) == (90, 90, 90)


def test_a_stored_image_is_upright_and_keeps_its_size() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0] = 255
    data = encoded(Image.fromarray(pixels), "PNG", exif=exif)
    found = decode_stored({"bytes": data, "path": None}, root=Path())
    assert found is not None
    np.testing.assert_array_equal(found[:, :, 1], np.rot90(pixels, -1))
    assert found.shape == (6, 4, 3)
    assert decode_stored({"bytes": b"GIF89a", "path": None}, root=Path()) is None


def test_downscaling_averages_pixels() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    picture = read(encoded(Image.fromarray(board)))
    assert np.abs(picture.pixels.astype(int) - 127).max() <= 3


def test_a_large_jpeg_is_decoded_as_without_the_reduced_size_decoding() -> None:
    ramp = np.repeat(np.linspace(0, 255, 512).astype(np.uint8)[None, :, None], 512, 0).repeat(3, 2)
    data = encoded(Image.fromarray(ramp), "JPEG", quality=95)
    whole = Image.open(io.BytesIO(data)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.abs(read(data).pixels.astype(int) - np.asarray(whole)).max() <= 4


@pytest.mark.parametrize(
    "cell",
    [
        None,
        {"bytes": b"", "path": None},
        {"bytes": b"GIF89a", "path": None},
        {"bytes": None, "path": None},
        {"bytes": encoded(Image.new("F", (8, 8), 0.5), "TIFF"), "path": None},
        {"bytes": encoded(Image.effect_noise((64, 64), 90), "JPEG")[:-400], "path": None},
    ],
    ids=["none", "empty", "header only", "nothing", "fractional", "cut short"],
)
def test_a_cell_that_cannot_be_decoded_gives_none(cell: dict[str, object] | None, tmp_path: Path) -> None:
    assert decode(cell, root=tmp_path, resolution=8) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.png", "nowhere.png' cannot be read: No such file"),
        (".", "Is a directory"),
        ("a\0b.png", "null"),
        ("zip://x.png::bad.zip", "bad.zip' cannot be read: "),
    ],
    ids=["missing", "folder", "invalid path", "invalid archive"],
)
def test_a_file_that_cannot_be_read_raises_an_error(
    path: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=reason) as raised:
        decode({"bytes": None, "path": path}, root=tmp_path, resolution=8)
    assert raised.value.remedy


def test_a_file_without_read_permission_raises_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"mine\.png' cannot be read: Permission denied; every .*\n"):
        decode({"bytes": None, "path": "mine.png"}, root=tmp_path, resolution=8)


def test_a_lack_of_memory_is_not_taken_for_a_broken_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_: Image.Image) -> None:
        raise MemoryError

    data = encoded(plain("RGB", (1, 2, 3)))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", exhausted)
    with pytest.raises(MemoryError):
        read(data)


@pytest.mark.filterwarnings("ignore")  # decode_all silences the warnings of decoders
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_broken_bytes_give_an_image_or_none(form: str) -> None:
    whole = np.frombuffer(encoded(Image.effect_noise((32, 32), 90), form), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = whole.copy()
        broken[rng.integers(0, len(whole), 6)] = rng.integers(0, 256, 6)
        truncated = broken[: rng.integers(1, len(whole) + 1)].tobytes()
        decode({"bytes": truncated, "path": None}, root=Path(), resolution=8)


@pytest.mark.parametrize("side", [8, 256], ids=["one by one", "in threads"])
def test_images_are_in_the_order_of_the_indices(side: int) -> None:
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    cells = [{"bytes": encoded(Image.new("RGB", (side, side), (k, k, k))), "path": None} for k in range(40)]
    table = Dataset.from_dict({"image": cells}, features=Features({"image": ImageFeature(decode=False)}))
    indices = torch.arange(39, 0, -2)
    decoded = decode_all(table, indices, part="train", root=Path(), resolution=8)
    assert torch.equal(decoded.images[:, 0, 0, 0].long(), indices)
    assert decoded.readable.all()
    assert decoded.sizes == {(side, side): 20}
