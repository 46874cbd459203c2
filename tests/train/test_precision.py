"""Which precision a device trains in, and trainings in each that a CPU has."""

from typing import Any

import pytest
import torch

from nas.errors import NasError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.precision import PRECISIONS, precision_on
from nas.train.recipe import Recipe
from tests.evaluate.colours import ARCH, make_data


def test_a_cpu_trains_in_fp32_unless_it_is_told_otherwise() -> None:
    assert precision_on("cpu") == precision_on("cpu", "fp32") == "fp32"
    assert precision_on("cpu", "bf16") == "bf16"


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "tf32")])
def test_a_graphics_card_trains_in_bf16_where_it_can(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert precision_on("cuda:1") == expected
    if not has_bf16:
        with pytest.raises(NasError, match="cuda does not train in bf16"):
            precision_on("cuda", "bf16")


def test_what_a_device_does_not_have_is_told_before_any_training() -> None:
    with pytest.raises(NasError, match="cpu does not train in tf32\n  use fp32, bf16, fp16 or auto"):
        TrainEvaluator(make_data(), recipe=Recipe(precision="tf32"))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_half_the_bits_learn_as_well(name: str) -> None:
    evaluator = TrainEvaluator(make_data(), recipe=Recipe(batch_size=8, precision=name))
    assert evaluator.describe()["precision"] == name
    assert list(evaluator.evaluate(ARCH, 6))[-1] > 0.9


@pytest.mark.parametrize(("name", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_convolutions_compute_in_it_and_losses_in_fp32(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: torch.dtype
) -> None:
    seen = set()
    convolve = torch.nn.functional.conv2d

    def watched(*arguments: Any, **rest: Any) -> torch.Tensor:
        result = convolve(*arguments, **rest)
        seen.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    losses: list[float] = []
    recipe = Recipe(batch_size=8, precision=name)
    list(TrainEvaluator(make_data(), recipe=recipe, on_batch=lambda *told: losses.append(told[2])).evaluate(ARCH, 1))
    assert seen == {expected}
    # ln 3, the loss of the first step, whose classifier is zero; bfloat16 would hold 8 bits of it.
    assert losses[0] == pytest.approx(1.0986123, abs=1e-6)


def test_only_small_gradients_of_fp16_are_scaled() -> None:
    assert [name for name, precision in PRECISIONS.items() if precision.scaled] == ["fp16"]
