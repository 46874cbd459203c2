"""Strong augmentation: ranges, seeds, AugMix's operations, and when kornia is loaded."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.errors import MissingPackageError, NasError
from nas.train.augmentation import Augmentation, augmix_operations, mix_chains
from nas.train.recipes.schema import POLICIES, TrainingRecipe

SIDE = 16


def pixels(count: int = 16) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "none"])
def test_a_policy_changes_images_by_the_global_seed_and_keeps_their_range(policy: str) -> None:
    augmentation = Augmentation(TrainingRecipe(policy=policy), 3)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augmentation.views(pixels()))
    for first, second, other in zip(*results, strict=True):
        assert torch.equal(first, second)
        assert first.shape == pixels().shape
        assert 0 <= first.min() <= first.max() <= 1
        assert not first.requires_grad
        assert torch.equal(first, other) == (first is results[0][0] and policy == "augmix")
    changed = results[0][-1]
    assert not torch.equal(changed, pixels())


def test_augmix_gives_the_clean_images_and_two_other_views() -> None:
    clean, first, second = Augmentation(TrainingRecipe(policy="augmix"), 1).views(pixels()[:, :1])
    assert torch.equal(clean, pixels()[:, :1])
    assert not torch.equal(first, second)


def test_chains_that_change_nothing_give_the_images_back() -> None:
    mixed = mix_chains(pixels(), TrainingRecipe(policy="augmix"), (lambda images: images,))
    assert torch.allclose(mixed, pixels(), atol=1e-6)


def test_a_mixture_of_inverted_chains_lies_between_an_image_and_its_negative() -> None:
    """With chains of one operation x → 1 - x, the result is (1 - m) · x + m · (1 - x) with a share m of each image."""
    torch.manual_seed(0)
    recipe = TrainingRecipe(policy="augmix", augmix_depth=1)
    mixed = mix_chains(pixels(), recipe, (lambda images: 1 - images,))
    shares = ((mixed - pixels()) / (1 - 2 * pixels())).flatten(1).median(1).values
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert len(set(shares.tolist())) == len(shares)
    expected = pixels() + shares[:, None, None, None] * (1 - 2 * pixels())
    assert torch.allclose(mixed, expected, atol=1e-4)


@pytest.mark.parametrize("severity", [1, 3, 10])
def test_the_operations_of_augmix_have_the_strengths_of_its_code(severity: int) -> None:
    """The code draws a level from 0.1 to the severity, and multiplies it by a tenth of the largest strength."""
    *_, posterize, rotate, solarize, shear_x, _, translate_x, _ = augmix_operations(severity)
    drawn = {}
    torch.manual_seed(0)
    for operation in (posterize, rotate, solarize, shear_x, translate_x):
        parameters = operation.forward_parameters(torch.Size((4000, 3, SIDE, SIDE)))  # type: ignore[attr-defined]
        name = operation._factor_name  # type: ignore[attr-defined]
        drawn[name] = parameters[name].float()
    largest = {"degrees": 30 * severity / 10, "translate_x": SIDE / 3 * severity / 10}
    for name, strength in largest.items():
        assert drawn[name].abs().max().item() == pytest.approx(strength, rel=0.02)
        assert drawn[name].min() < 0 < drawn[name].max()
    shear = math.degrees(math.atan(0.3 * severity / 10))
    assert drawn["shear_x"].abs().max().item() == pytest.approx(shear, rel=0.02)
    assert drawn["thresholds"].min().item() == pytest.approx(1 - severity / 10, abs=0.02)
    assert drawn["thresholds"].max().item() == pytest.approx(0.99, abs=0.02)
    # A level below 2.5 takes no bit away, so all 4 bits are kept.
    kept = (drawn["bits_factor"].round() == 4).float().mean().item()
    assert kept == pytest.approx((min(2.5, severity) - 0.1) / (severity - 0.1), abs=0.04)


def test_a_crop_of_the_whole_area_and_shape_is_nearly_the_image() -> None:
    augmentation = Augmentation(TrainingRecipe(crop=0.999), 3)
    smooth = torch.linspace(0, 1, SIDE).expand(4, 3, SIDE, SIDE).contiguous()
    (cropped,) = augmentation.views(smooth)
    assert cropped.shape == smooth.shape
    assert (cropped - smooth).abs().mean() < 0.2
    torch.manual_seed(0)
    (small,) = Augmentation(TrainingRecipe(crop=0.1), 3).views(smooth)
    assert small.std((1, 2, 3)).mean() < smooth.std((1, 2, 3)).mean()  # a part of a slope is flatter


def test_erased_pixels_have_the_mean_color() -> None:
    erase = Augmentation(TrainingRecipe(erasing=1.0), 3).erase
    assert erase is not None
    erased = erase(torch.ones(8, 3, SIDE, SIDE))
    shares = (erased == 0).float().mean((1, 2, 3))
    assert ((erased == 0) | (erased == 1)).all()
    assert 0 < shares.min() <= shares.max() < 0.45


def test_a_policy_on_colors_needs_three_channels() -> None:
    with pytest.raises(NasError, match="randaugment, and the images have 1 channels"):
        Augmentation(TrainingRecipe(policy="randaugment"), 1)
    Augmentation(TrainingRecipe(policy="augmix"), 1)


@pytest.mark.parametrize("technique", [{"crop": 0.5}, {"cutmix": 1.0}, {"erasing": 0.5}, {"policy": "augmix"}])
def test_a_missing_kornia_is_an_error_before_the_first_batch(
    technique: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kornia.augmentation", "kornia.augmentation.auto", "kornia.augmentation.auto.operations"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match="kornia cannot be imported") as error:
        Augmentation(TrainingRecipe(**technique), 3)
    assert error.value.remedy == "pip install 'hwnas[train]'"
    assert Augmentation(TrainingRecipe(mixup=0.2), 3).policy is None


@pytest.mark.slow
def test_a_recipe_without_strong_augmentation_does_not_load_kornia() -> None:
    code = """if True:
        import sys
from typing import Any
        from nas.train.recipes.files import load_recipe
        from nas.train.augmentation import Augmentation
        import nas.train.loop
        assert Augmentation(load_recipe("fast"), 3).policy is None
        assert not [name for name in sys.modules if name.split(".")[0] == "kornia"]
    """
    subprocess.run([sys.executable, "-c", code], check=True)
