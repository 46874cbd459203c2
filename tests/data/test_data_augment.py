"""Tests of augmentation by its properties, and of normalization against its closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nas.data.augment import augment, normalize
from nas.errors import DataError

_SIDES = st.integers(1, 7)
_SHIFTS = st.integers(0, 4)
_SEEDS = st.integers(0, 2**32)


def numbered(count: int, height: int, width: int) -> Tensor:
    """Return images in which every value is distinct, and none is the zero of the padding."""
    return torch.arange(1.0, count * 3 * height * width + 1).view(count, 3, height, width)


def changed(batch: Tensor, seed: int, *, flip: bool, shift: int) -> Tensor:
    return augment(batch, flip=flip, shift=shift, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 5), _SIDES, _SIDES, _SHIFTS, st.booleans(), _SEEDS)
def test_every_value_comes_from_the_same_channel_or_the_padding(
    count: int, height: int, width: int, shift: int, flip: bool, seed: int
) -> None:
    batch = numbered(count, height, width)
    result = changed(batch, seed, flip=flip, shift=shift)
    assert result.shape == batch.shape
    for before, after in zip(batch.flatten(0, 1), result.flatten(0, 1), strict=True):
        assert set(after.flatten().tolist()) <= set(before.flatten().tolist()) | {0.0}


@given(st.integers(1, 5), _SIDES, _SIDES, _SHIFTS, _SEEDS)
def test_each_result_is_a_shift_of_its_image(count: int, height: int, width: int, shift: int, seed: int) -> None:
    batch = numbered(count, height, width)
    padded = torch.nn.functional.pad(batch, (shift,) * 4)
    for k, image in enumerate(changed(batch, seed, flip=False, shift=shift)):
        windows = padded[k].unfold(1, height, 1).unfold(2, width, 1).flatten(1, 2).unbind(1)
        assert any(torch.equal(image, window) for window in windows)


@given(st.integers(1, 9), _SIDES, _SIDES, _SEEDS)
def test_mirroring_twice_restores_the_batch(count: int, height: int, width: int, seed: int) -> None:
    batch = numbered(count, height, width)
    once = changed(batch, seed, flip=True, shift=0)
    assert torch.equal(changed(once, seed, flip=True, shift=0), batch)


@given(st.integers(1, 5), _SIDES, _SIDES, _SEEDS)
def test_without_flip_and_shift_nothing_changes(count: int, height: int, width: int, seed: int) -> None:
    batch = numbered(count, height, width)
    assert torch.equal(changed(batch, seed, flip=False, shift=0), batch)


@given(_SHIFTS, st.booleans(), _SEEDS)
def test_a_seed_gives_the_same_result_again_and_the_input_is_unchanged(shift: int, flip: bool, seed: int) -> None:
    batch = numbered(4, 5, 6)
    first = changed(batch, seed, flip=flip, shift=shift)
    assert torch.equal(first, changed(batch, seed, flip=flip, shift=shift))
    assert torch.equal(batch, numbered(4, 5, 6))


def test_each_image_is_mirrored_with_probability_one_half() -> None:
    batch = numbered(1, 2, 2).expand(2000, 3, 2, 2)
    mirrored = (changed(batch, 0, flip=True, shift=0)[:, 0, 0, 0] == 2).sum().item()
    assert 900 < mirrored < 1100


def test_all_offsets_occur_equally_often() -> None:
    batch = torch.zeros(9000, 3, 3, 3)
    batch[:, :, 1, 1] = 1
    spots = changed(batch, 0, flip=False, shift=1)[:, 0].flatten(1).sum(0)
    assert spots.sum() == 9000
    assert ((spots > 850) & (spots < 1150)).all()


def test_a_negative_shift_raises_an_error() -> None:
    with pytest.raises(DataError, match="the shift is -1 pixels; a shift must be 0 or more pixels"):
        changed(numbered(1, 2, 2), 0, flip=False, shift=-1)


def test_normalization_matches_the_closed_form() -> None:
    batch = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    scaled = normalize(batch, (0.5, 0.2, 0.0), (0.5, 0.1, 0.25))
    assert scaled.dtype == torch.float32
    assert scaled.flatten().tolist() == pytest.approx([-1.0, 0.0, 4.0], abs=1e-6)
