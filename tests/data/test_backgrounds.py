"""Masks of objects, and images with other backgrounds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.data.backgrounds import BACKGROUNDS, SAME, Masked, approximate_mask, read_masks, with_background, with_masks
from nas.data.perturbations import PERTURBATIONS, perturb
from nas.errors import DataError


def scene(*, uneven: bool = False, noise: int = 4) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A red disk on gray, and where it is."""
    rows, columns = np.indices((60, 60))
    disk = (rows - 32) ** 2 + (columns - 28) ** 2 < 15**2
    light = 200 - (np.hypot(rows - 30, columns - 30) * 2 if uneven else 0 * rows)
    image = np.stack([light, light, light])
    image[:, disk] = np.array([[180], [60], [50]])
    image = image + np.random.default_rng(0).integers(-noise, noise + 1, image.shape)
    return image.clip(0, 255).astype(np.uint8), disk


@pytest.mark.parametrize("uneven", [False, True])
def test_an_object_of_another_color_is_found(uneven: bool) -> None:
    image, disk = scene(uneven=uneven)
    mask = approximate_mask(image)
    assert mask is not None
    assert (mask & disk).sum() / (mask | disk).sum() > 0.95


def test_an_object_that_reaches_the_edge_is_found() -> None:
    image, _ = scene()
    image[:, 40:, 20:36] = np.array([180, 60, 50], dtype=np.uint8)[:, None, None]
    mask = approximate_mask(image)
    assert mask is not None
    assert mask[59, 25]
    assert not mask[5, 5]


@pytest.mark.parametrize("channels", [1, 3])
def test_no_mask_is_made_up_where_no_object_is_told_apart(channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (channels, 40, 40), dtype=np.uint8)
    assert approximate_mask(noise) is None
    assert approximate_mask(np.full((channels, 40, 40), 90, dtype=np.uint8)) is None


class TestFolder:
    def write(self, path: Path, *, white: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (20, 20))
        if white:
            image.paste(255, (5, 5, 15, 15))
        image.save(path)

    def test_masks_are_found_by_path_or_by_name(self, tmp_path: Path) -> None:
        self.write(tmp_path / "cat" / "one.png")
        self.write(tmp_path / "two.png")
        self.write(tmp_path / "three.png", white=False)
        found = read_masks(tmp_path, ["cat/one.jpg", "dog/two.jpg", "dog/three.jpg", "dog/four.jpg"], 20)
        assert [mask is not None for mask in found] == [True, True, False, False]
        assert found[0] is not None
        assert found[0].sum() == 100

    def test_a_name_that_two_images_share_says_nothing(self, tmp_path: Path) -> None:
        self.write(tmp_path / "one.png")
        self.write(tmp_path / "a" / "one.png")
        found = read_masks(tmp_path, ["a/one.jpg", "b/one.jpg"], 20)
        assert [mask is not None for mask in found] == [True, False]

    def test_a_folder_without_masks_of_the_images_is_an_error(self, tmp_path: Path) -> None:
        self.write(tmp_path / "other.png")
        with pytest.raises(DataError, match="1 image files, and none has the name"):
            read_masks(tmp_path, ["cat/one.jpg"], 20)
        with pytest.raises(DataError, match="not a folder"):
            read_masks(tmp_path / "absent", ["cat/one.jpg"], 20)

    def test_a_mask_that_cannot_be_decoded_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "one.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"one\.png cannot be decoded"):
            read_masks(tmp_path, ["cat/one.jpg"], 20)


class TestBackgrounds:
    def masked(self) -> Masked:
        """Four images of one color each, with a square as the object."""
        levels = torch.tensor([10, 20, 130, 140], dtype=torch.uint8)
        images = levels.view(4, 1, 1, 1).expand(4, 3, 20, 20).clone()
        masks = torch.zeros(4, 1, 20, 20, dtype=torch.bool)
        masks[..., 8:12, 8:12] = True
        images[masks.expand_as(images)] = 250
        return Masked(images, torch.tensor([0, 0, 1, 1]), masks, torch.arange(4))

    @pytest.mark.parametrize("name", [name for name in BACKGROUNDS if name != "only the background"])
    def test_the_object_stays(self, name: str) -> None:
        masked = self.masked()
        found = with_background(masked, name)
        assert found.dtype == torch.uint8
        assert set(found[masked.masks.expand_as(found)].tolist()) == {250}

    def test_only_the_background_has_no_object(self) -> None:
        found = with_background(self.masked(), "only the background")
        assert [set(image.flatten().tolist()) for image in found] == [{10}, {20}, {130}, {140}]

    def test_backgrounds_come_from_the_same_class_or_from_any_other_image(self) -> None:
        same = with_background(self.masked(), SAME)[:, 0, 0, 0].tolist()
        assert same == [20, 10, 140, 130]
        for seed in range(5):
            mixed = with_background(self.masked(), "background of any image", seed)[:, 0, 0, 0].tolist()
            assert sorted(mixed) == [10, 20, 130, 140]
            assert all(new != old for new, old in zip(mixed, [10, 20, 130, 140], strict=True))

    def test_images_without_a_mask_are_left_out(self) -> None:
        masked = self.masked()
        mask = masked.masks[0, 0].numpy()
        found = with_masks(masked.images, masked.labels, [mask, None, mask, None])
        assert found is not None
        assert found.indices.tolist() == [0, 2]
        assert with_masks(masked.images, masked.labels, [mask, None, None, None]) is None


class TestPerturbations:
    images = torch.arange(2 * 3 * 32 * 32).view(2, 3, 32, 32).remainder(251).to(torch.uint8)

    @pytest.mark.parametrize("name", PERTURBATIONS)
    def test_a_perturbation_keeps_form_and_changes_little(self, name: str) -> None:
        found = perturb(self.images, name)
        assert (found.dtype, found.shape) == (torch.uint8, self.images.shape)
        assert not found.equal(self.images)
        assert found.equal(perturb(self.images, name))

    def test_a_shift_moves_whole_pixels_and_repeats_the_edge(self) -> None:
        moved = perturb(self.images, "moved down by 1/8")
        assert moved[..., 4:, :].equal(self.images[..., :-4, :])
        assert moved[..., 0, :].equal(self.images[..., 0, :])

    def test_a_rotation_keeps_what_is_round(self) -> None:
        rows, columns = torch.meshgrid(torch.arange(33) - 16, torch.arange(33) - 16, indexing="ij")
        hill = (255 * torch.exp(-(rows**2 + columns**2) / 50)).to(torch.uint8).expand(1, 3, 33, 33)
        turned = perturb(hill, "turned by 10°")
        assert (turned.float() - hill.float()).abs().max() < 3
