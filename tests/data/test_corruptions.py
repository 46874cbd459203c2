"""Contract of the common corruptions, and values that follow from their definitions."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image
from torch import Tensor

from nas.data.corruptions.filtering import convolve, motion_kernels, plasma, smooth
from nas.data.corruptions.kinds import KINDS, corrupt
from nas.data.corruptions.severities import CONSTANTS, SEVERITIES
from nas.errors import DataError

# Frost and fog darken an image and add white, which partly cancel out in the mean distance.
# The elastic transform of severities 1 and 2 moves the whole image further than the others, which distort it locally.
# Glass blur of 32 pixels has a smaller blur at severity 4 than at 3.
NOT_BY_DISTANCE = ("frost", "fog", "elastic_transform", "glass_blur")
# Two severities differ less than chance: those of pixelated images of 32 pixels, and those of snow at 224 pixels, whose
# flakes are few and large.
SIDES = {"pixelate": (224,), "snow": (32,)}


def photograph(side: int, count: int = 3) -> Tensor:
    """Parts of a photograph, uint8 `(N, 3, side, side)`."""
    whole = Image.fromarray(load_sample_image("china.jpg"))
    parts = [whole.crop((30 * n, 60, 30 * n + 300, 360)).resize((side, side)) for n in range(count)]
    return torch.from_numpy(np.stack([np.asarray(part) for part in parts])).permute(0, 3, 1, 2)


def distances(images: Tensor, kind: str) -> list[float]:
    return [float((corrupt(images, kind, severity).float() - images.float()).abs().mean()) for severity in SEVERITIES]


def correlation(images: Tensor, kind: str, severity: int) -> float:
    pairs = zip(images, corrupt(images, kind, severity), strict=True)
    return float(np.mean([np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1] for a, b in pairs]))


def test_there_are_fifteen_kinds_with_constants_for_five_severities() -> None:
    assert len(KINDS) == 15
    assert CONSTANTS.keys() == KINDS.keys()
    assert all(len(each.small) == len(each.large) == 5 for each in CONSTANTS.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [9, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_corruption_keeps_form_and_is_the_same_for_the_same_seed(kind: str, side: int, channels: int) -> None:
    images = photograph(side)[:, :channels]
    before = images.clone()
    first = corrupt(images, kind, 5, seed=3)
    assert (first.dtype, first.shape) == (torch.uint8, images.shape)
    assert first.equal(corrupt(images, kind, 5, seed=3))
    assert not first.equal(images)
    assert images.equal(before)


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in KINDS
        if kind
        not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")  # no random part
    ],
)
def test_another_seed_gives_another_corruption(kind: str) -> None:
    images = photograph(32)
    assert not corrupt(images, kind, 3, seed=0).equal(corrupt(images, kind, 3, seed=1))


def test_random_numbers_of_torch_do_not_change() -> None:
    before = torch.get_rng_state()
    for kind in KINDS:
        corrupt(photograph(16), kind, 1)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize(
    ("kind", "side"),
    [(kind, side) for kind in KINDS if kind not in NOT_BY_DISTANCE for side in SIDES.get(kind, (32, 224))],
)
def test_a_higher_severity_changes_a_photograph_more(kind: str, side: int) -> None:
    found = distances(photograph(side), kind)
    assert found == sorted(found)
    assert found[0] > 0
    assert found[-1] > 1.2 * found[0]


@pytest.mark.parametrize("side", [32, 96])
@pytest.mark.parametrize("kind", ["frost", "fog"])
def test_more_frost_and_fog_hide_more_of_a_photograph(kind: str, side: int) -> None:
    found = [correlation(photograph(side, 12), kind, severity) for severity in SEVERITIES]
    assert found == sorted(found, reverse=True)


def test_glass_blur_grows_from_the_first_to_the_last_severity() -> None:
    found = distances(photograph(96), "glass_blur")
    assert found[0] < found[2] < found[4]


def test_elastic_displacements_grow_where_the_shift_is_the_same() -> None:
    third, fourth, fifth = (CONSTANTS["elastic_transform"].at(severity, 224) for severity in (3, 4, 5))
    assert third[1:] == fourth[1:] == fifth[1:]
    assert third[0] < fourth[0] < fifth[0]


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5])
def test_a_severity_out_of_range_is_an_error(severity: int) -> None:
    with pytest.raises(DataError, match="severity"):
        corrupt(photograph(16), "fog", severity)


def test_an_unknown_kind_and_other_images_are_errors() -> None:
    with pytest.raises(DataError, match="hail"):
        corrupt(photograph(16), "hail", 1)
    with pytest.raises(DataError, match="float32"):
        corrupt(photograph(16).float(), "fog", 1)
    with pytest.raises(DataError, match="channels"):
        corrupt(photograph(16)[:, :2], "fog", 1)


class TestConstants:
    def test_between_the_published_sizes_constants_follow_the_logarithm_of_the_size(self) -> None:
        middle = round((32 * 224) ** 0.5)
        (found,) = CONSTANTS["gaussian_noise"].at(1, middle)
        assert found == pytest.approx((0.04 + 0.08) / 2, rel=0.01)

    def test_lengths_grow_with_larger_images_and_shares_do_not(self) -> None:
        assert CONSTANTS["motion_blur"].at(2, 448) == (30, 10)
        assert CONSTANTS["contrast"].at(2, 448) == (0.3,)

    def test_smaller_images_have_the_constants_of_32_pixels(self) -> None:
        assert CONSTANTS["motion_blur"].at(1, 16) == (6, 1)


class TestValues:
    def test_gaussian_noise_has_its_standard_deviation(self) -> None:
        gray = torch.full((4, 3, 224, 224), 128, dtype=torch.uint8)
        noise = corrupt(gray, "gaussian_noise", 1).float() / 255
        assert float(noise.std()) == pytest.approx(0.08, rel=0.01)

    def test_shot_noise_has_the_variance_of_a_poisson_distribution(self) -> None:
        gray = torch.full((4, 3, 224, 224), 51, dtype=torch.uint8)
        noise = corrupt(gray, "shot_noise", 1).float() / 255
        assert float(noise.var()) == pytest.approx(0.2 / 60, rel=0.03)

    def test_impulse_noise_changes_its_share_of_the_values(self) -> None:
        gray = torch.full((4, 3, 224, 224), 100, dtype=torch.uint8)
        noisy = corrupt(gray, "impulse_noise", 5)
        assert float((noisy == 0).float().mean()) == pytest.approx(0.27 / 2, rel=0.03)
        assert float((noisy == 255).float().mean()) == pytest.approx(0.27 / 2, rel=0.03)

    def test_brightness_raises_the_value_and_keeps_hue_and_saturation(self) -> None:
        color = torch.tensor([100, 50, 25], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 224, 224)
        # The value 100 rises by 0.2 * 255 = 51 gray levels, and the other channels in proportion.
        assert corrupt(color, "brightness", 2)[0, :, 0, 0].tolist() == [151, 76, 38]

    def test_brightness_agrees_with_pillow(self) -> None:
        image = photograph(224, 1)
        hsv = np.array(Image.fromarray(image[0].permute(1, 2, 0).numpy()).convert("HSV")).astype(int)
        hsv[..., 2] = np.minimum(255, hsv[..., 2] + 51)
        expected = np.asarray(Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")).astype(int)
        found = corrupt(image, "brightness", 2)[0].permute(1, 2, 0).numpy().astype(int)
        assert np.abs(found - expected).mean() < 1.5

    def test_contrast_shrinks_the_distance_from_the_mean(self) -> None:
        halves = torch.tensor([0, 200], dtype=torch.uint8).repeat_interleave(112).expand(1, 3, 224, 224)
        assert set(corrupt(halves, "contrast", 1).flatten().tolist()) == {60, 140}

    def test_a_blur_of_one_color_is_that_color(self) -> None:
        gray = torch.full((2, 3, 40, 40), 77, dtype=torch.uint8)
        for kind in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"):
            assert set(corrupt(gray, kind, 5).flatten().tolist()) == {77}

    def test_glass_blur_moves_pixels_and_loses_none(self) -> None:
        image = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        # The smoothing of severity 1 has a standard deviation of a twentieth of a pixel.
        moved = corrupt(image, "glass_blur", 1)
        assert np.abs(np.sort(moved.flatten().numpy()).astype(int) - np.arange(256)).max() <= 4
        assert not moved.equal(image)


class TestFilters:
    def test_smoothing_agrees_with_scipy(self) -> None:
        images = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
        expected = gaussian_filter(images.numpy(), (0, 0, 2.0, 2.0), mode="reflect", truncate=8)
        assert np.abs(smooth(images, 2.0).numpy() - expected).max() < 1e-4

    def test_a_convolution_agrees_with_pillow(self) -> None:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12), dtype=np.uint8))
        kernel = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]) / 45
        # Pillow correlates instead of convolving, from the bottom row upwards, and leaves the border as it is.
        expected = np.asarray(
            image.filter(ImageFilter.Kernel((3, 3), kernel.flip(0).flatten().tolist(), 1)), dtype=float
        )
        source = torch.from_numpy(np.array(image)).float()[None, None]
        found = [
            convolve(source, k[None])[0, 0].numpy() for k in (kernel, kernel.flip(0, 1), kernel.flip(0), kernel.flip(1))
        ]
        assert min(np.abs(each - expected)[1:-1, 1:-1].max() for each in found) < 1.0
        by_hand = sum(float(kernel[i, j]) * source[0, 0, 6 + 1 - i, 6 + 1 - j] for i in range(3) for j in range(3))
        assert float(found[0][6, 6]) == pytest.approx(float(by_hand), abs=1e-3)

    def test_a_motion_kernel_lies_on_its_line(self) -> None:
        kernel = motion_kernels(3, 2.0, torch.tensor([0.0]))[0]
        assert float(kernel.sum()) == pytest.approx(1)
        middle = kernel.shape[0] // 2
        assert float(kernel[middle].sum()) == pytest.approx(1)
        weights = np.exp(-(np.arange(7) ** 2) / 8)
        assert kernel[middle, middle : middle + 7].numpy() == pytest.approx(weights / weights.sum())

    def test_a_texture_reaches_from_0_to_1_and_has_structure(self) -> None:
        texture = plasma(2, 64, 64, 2.0, torch.Generator().manual_seed(0))
        assert (float(texture.amin()), float(texture.amax())) == (0.0, 1.0)
        near = (texture[..., 1:] - texture[..., :-1]).abs().mean()
        far = (texture[..., 32:] - texture[..., :-32]).abs().mean()
        assert near < far / 5
