"""Tests of the initialization for short training runs: branches and logits start at zero, and all weights can learn."""

import pytest
import torch

from nas.arch.code import parse_text
from nas.models.build import build_model
from nas.models.start import zero_init_residual

TEXT = "net resolution=12\nstem conv k3 s1 c8\nmbconv r2 k3 e2 c8\nconv r2 k3 c8\nmbconv k3 s2 e2 c8\nhead conv c16"


def test_layers_start_as_their_skips_and_all_logits_as_0() -> None:
    model = build_model(parse_text(TEXT))
    zero_init_residual(model)
    values = torch.randn(4, 8, 12, 12)
    for layer in ("stages.0.0", "stages.0.1"):
        torch.testing.assert_close(model.get_submodule(layer)(values), values)
    assert not model(torch.randn(4, 3, 12, 12)).any()


RESIDUAL = (
    "net resolution=12\nstem conv k3 s1 c8\nbasic r2 k3 c8\nbottleneck r2 k3 s2 e2 c8 projskip\n"
    "basic k3 c8 se0.5\nmbconv k3 c8\nbasic k3 c8 noskip\nhead mlp c16 f12"
)


def test_residual_layers_with_projections_or_gates_start_as_their_skips() -> None:
    model = build_model(parse_text(RESIDUAL)).eval()
    zero_init_residual(model)
    values = torch.randn(4, 8, 12, 12)
    for layer in ("stages.0.0", "stages.0.1", "stages.1.1", "stages.2.0"):
        torch.testing.assert_close(model.get_submodule(layer)(values), values.relu())
    skip = model.get_submodule("stages.1.0.skip_conv")
    torch.testing.assert_close(model.get_submodule("stages.1.0")(values), skip(values).relu())
    zeros = {name for name, weight in model.named_parameters() if not weight.any() and name.endswith("weight")}
    assert zeros == {
        "stages.0.0.conv2.norm.weight",
        "stages.0.1.conv2.norm.weight",
        "stages.1.0.restore.norm.weight",
        "stages.1.1.restore.norm.weight",
        "stages.2.0.conv2.norm.weight",
        "stages.3.0.project.norm.weight",
        "head.classifier.weight",
    }


def test_branches_without_a_skip_or_with_an_activation_at_the_end_do_not_change() -> None:
    model = build_model(parse_text(TEXT))
    zero_init_residual(model)
    zeros = [name for name, weight in model.named_parameters() if name.endswith("norm.weight") and not weight.any()]
    assert zeros == ["stages.0.0.project.norm.weight", "stages.0.1.project.norm.weight"]


@pytest.mark.parametrize("text", [TEXT, RESIDUAL])
def test_every_weight_has_a_gradient_after_three_steps(text: str) -> None:
    torch.manual_seed(0)
    model = build_model(parse_text(text))
    zero_init_residual(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 3, 12, 12)), torch.arange(8))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert all(bool(p.grad is not None and p.grad.any()) for p in model.parameters() if p.ndim > 1)
