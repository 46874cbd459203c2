"""The precision that each device trains in, and training runs in each precision of a CPU."""

from typing import Any

import pytest
import torch

from nas.errors import NasError
from nas.evaluate.short_training.evaluator import TrainEvaluator
from nas.train.precision import PRECISIONS, resolve_precision
from nas.train.recipe import Recipe
from tests.evaluate.colors import ARCH, make_data


def test_a_cpu_trains_in_fp32_by_default() -> None:
    assert resolve_precision("cpu") == resolve_precision("cpu", "fp32") == "fp32"
    assert resolve_precision("cpu", "bf16") == "bf16"


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "tf32")])
def test_a_gpu_trains_in_bf16_if_it_supports_it(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert resolve_precision("cuda:1") == expected
    if not has_bf16:
        with pytest.raises(NasError, match="device cuda does not support precision bf16"):
            resolve_precision("cuda", "bf16")


def test_an_unsupported_precision_is_an_error_before_any_training() -> None:
    with pytest.raises(NasError, match="device cpu does not support precision tf32\n  use fp32, bf16, fp16 or auto"):
        TrainEvaluator(make_data(), recipe=Recipe(precision="tf32"))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_network_learns_with_16_bits_too(name: str) -> None:
    evaluator = TrainEvaluator(make_data(), recipe=Recipe(batch_size=8, precision=name))
    assert evaluator.describe()["precision"] == name
    assert list(evaluator.evaluate(ARCH, 6))[-1] > 0.9


@pytest.mark.parametrize(("name", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_convolutions_compute_in_the_precision_and_losses_in_fp32(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: torch.dtype
) -> None:
    dtypes = set()
    convolve = torch.nn.functional.conv2d

    def watched(*arguments: Any, **options: Any) -> torch.Tensor:
        result = convolve(*arguments, **options)
        dtypes.add(result.dtype)
        return result

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    losses: list[float] = []
    recipe = Recipe(batch_size=8, precision=name)
    list(TrainEvaluator(make_data(), recipe=recipe, on_batch=lambda *step: losses.append(step[2])).evaluate(ARCH, 1))
    assert dtypes == {expected}
    # ln 3, the loss of the first step, whose classifier is zero; bfloat16 would keep only 8 bits of it.
    assert losses[0] == pytest.approx(1.0986123, abs=1e-6)


def test_only_fp16_scales_the_loss() -> None:
    assert [name for name, precision in PRECISIONS.items() if precision.scaled] == ["fp16"]
