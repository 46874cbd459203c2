"""Mixup and CutMix: images and targets are mixed in the same shares."""

import pytest
import torch
from torch import Tensor

from nas.train.mixing import cutmix, mix, mixup
from nas.train.recipes.schema import TrainingRecipe

COUNT, SIDE = 12, 16


def numbered_images() -> Tensor:
    """Return images of which every pixel is the number of the image."""
    return torch.arange(COUNT, dtype=torch.float32)[:, None, None, None].expand(COUNT, 3, SIDE, SIDE).contiguous()


def test_mixup_mixes_whole_images_in_one_share() -> None:
    torch.manual_seed(0)
    mixed, partners, shares = mixup(numbered_images(), 0.2)
    own = torch.arange(COUNT)
    assert len(set(shares.tolist())) == 1
    assert 0 <= shares[0] <= 1
    assert sorted(partners.tolist()) == own.tolist()
    expected = shares * own + (1 - shares) * partners
    assert torch.allclose(mixed, expected[:, None, None, None].expand_as(mixed), atol=1e-5)


def test_the_shares_of_mixup_have_the_variance_of_their_distribution() -> None:
    """Beta(α, α) has the mean 1/2 and the variance 1 / (4 · (2 α + 1))."""
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 1, 1)
    shares = torch.stack([mixup(image, 0.5)[2][0] for _ in range(2000)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(1 / 8, abs=0.01)


def test_cutmix_keeps_a_share_of_the_pixels_of_each_image() -> None:
    torch.manual_seed(1)
    mixed, partners, shares = cutmix(numbered_images(), 1.0)
    for i in range(COUNT):
        values = set(mixed[i].flatten().tolist())
        assert values <= {float(i), float(partners[i])}
        if partners[i] != i:
            kept = (mixed[i] == i).float().mean().item()
            assert kept == pytest.approx(shares[i].item(), abs=1e-6)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("techniques", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_targets_have_the_mean_of_the_pixels(techniques: dict[str, float], *, soft: bool) -> None:
    recipe = TrainingRecipe(**techniques)  # type: ignore[arg-type]
    targets: Tensor = torch.eye(COUNT) if soft else torch.arange(COUNT)
    for seed in range(4):
        torch.manual_seed(seed)
        images, mixed = mix(numbered_images(), targets, recipe, COUNT)
        assert torch.allclose(mixed.sum(1), torch.ones(COUNT))
        means = mixed @ torch.arange(COUNT, dtype=torch.float32)
        assert torch.allclose(images.mean((1, 2, 3)), means, atol=1e-4)


def test_without_mixing_nothing_is_drawn_and_labels_stay_labels() -> None:
    images, labels = numbered_images(), torch.arange(COUNT)
    torch.manual_seed(0)
    same, targets = mix(images, labels, TrainingRecipe(), COUNT)
    assert same is images
    assert targets is labels
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
