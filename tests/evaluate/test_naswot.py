"""NASWOT, compared with kernels computed by hand and with the algorithm of the paper's own code."""

import json
import math

import attrs
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.data.augment import normalize
from nas.data.base import ImageData, Images
from nas.errors import EvaluationError, NasError
from nas.evaluate.zero_cost import naswot
from nas.evaluate.zero_cost.naswot import Naswot, code_kernel, log_determinant
from nas.models.build import build_model
from tests.evaluate.colors import make_data

TEXT = (
    "net resolution=224 classes=1000 padding=same bn=0.01/0.001 drop_path=0.2 act={}\nstem conv k3 s1 c8\n"
    "mbconv r2 k3 s2 e2 c8 se0.25\nconv k3 s2 c12\nhead conv c16 dropout=0.2"
)
ARCH = parse_text(TEXT.format("relu"))


@pytest.fixture(name="data", scope="module")
def _data() -> ImageData:
    return make_data()


def test_a_small_kernel_and_its_determinant_computed_by_hand() -> None:
    images = torch.tensor([[0.5, 2.0, -1.0], [0.5, -2.0, 0.0], [-0.5, -2.0, 3.0]])[:, :, None, None]
    kernel = code_kernel(nn.Sequential(nn.ReLU()), images)  # the codes are 110, 100 and 001
    assert kernel.tolist() == [[3, 2, 0], [2, 3, 1], [0, 1, 3]]
    assert log_determinant(kernel) == pytest.approx(math.log(3 * (9 - 1) - 2 * 2 * 3))


def test_kernels_of_activations_add_up_and_sigmoids_of_gates_have_no_code() -> None:
    values = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    single = code_kernel(nn.Sequential(nn.SiLU()), values)
    assert np.array_equal(code_kernel(nn.Sequential(nn.Identity(), nn.Hardswish()), values), single)
    assert np.array_equal(code_kernel(nn.Sequential(nn.ReLU6(), nn.Flatten(), nn.ReLU()), values)[0, 0], 150)
    assert not code_kernel(nn.Sequential(nn.Sigmoid(), nn.Hardsigmoid()), values).any()


def published_kernel(arch: Architecture, images: Tensor, seed: int) -> NDArray[np.float64]:
    """Return the kernel as the authors' code computes it, from the outputs of activations and with two products."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = build_model(attrs.evolve(arch, drop_path=0.0)).train()
    total = np.zeros((len(images), len(images)))

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        code = (output.reshape(len(output), -1) > 0).double().numpy()
        total[:] += code @ code.T + (1 - code) @ (1 - code).T

    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)):
            module.register_forward_hook(hook)
    with torch.no_grad():
        model(images)
    return total


@pytest.mark.parametrize("activation", ["relu", "relu6", "silu", "hard_swish"])
def test_the_scores_are_those_of_the_papers_code(data: ImageData, activation: str) -> None:
    scorer = Naswot(data, seed=5)
    arch = parse_text(TEXT.format(activation))
    expected = published_kernel(arch.adapted(resolution=8, classes=3), scorer.batch, 5)
    assert np.abs(scorer.kernel(arch) - expected).max() <= 3  # of 2,500 bits, because floats are added in another order
    found = scorer.scores(arch)
    assert found["naswot"] == pytest.approx(np.linalg.slogdet(expected)[1], abs=0.05)
    assert found["distinctness"] == pytest.approx(np.linalg.slogdet(expected / expected[0, 0])[1], abs=0.05)


@pytest.mark.parametrize("name", ["efficientnet-b0", "mobilenetv3-small", "mobilenetv2", "mnasnet-a1", "resnet-18"])
def test_published_networks_have_scores(data: ImageData, name: str) -> None:
    found = Naswot(data, images=8).scores(preset(name))
    assert math.isfinite(found["naswot"])
    # Hadamard's inequality: a kernel with 1 on its diagonal has a determinant of at most 1.
    assert found["distinctness"] < 0


def test_a_score_depends_on_the_seed_and_torchs_generator_is_restored(data: ImageData) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = Naswot(data, seed=3).scores(ARCH)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = Naswot(data, seed=3)
    again.scores(preset("mnasnet-small"))
    assert again.scores(ARCH) == again.scores(ARCH) == first
    assert Naswot(data, seed=4).scores(ARCH) != first


def test_the_images_are_distinct_images_of_the_training_split(data: ImageData) -> None:
    batch = Naswot(data, images=10).batch
    assert batch.shape == (10, 3, 8, 8)
    train = normalize(data.train.images, data.mean, data.std)
    assert all((train == image).flatten(1).all(1).any() for image in batch)
    assert Naswot(data, images=500).batch.shape[0] == 61
    assert not torch.equal(Naswot(data, seed=1, images=10).batch, batch)


def test_equal_images_count_once() -> None:
    data_with_copies = repeated(make_data(5), 9)
    assert sorted(Naswot(data_with_copies).batch.flatten(1).sum(1).tolist()) == pytest.approx(
        sorted(Naswot(make_data(5)).batch.flatten(1).sum(1).tolist())
    )
    with pytest.raises(NasError, match="has 1 distinct training image"):
        Naswot(repeated(make_data(1), 4))


def repeated(data: ImageData, times: int) -> ImageData:
    train = Images(data.train.images.repeat(times, 1, 1, 1), data.train.labels.repeat(times))
    return attrs.evolve(data, train=train)


def test_a_singular_kernel_is_an_error(data: ImageData) -> None:
    with pytest.raises(EvaluationError, match="codes of 32 images have rank 0"):
        Naswot(data).scores(parse_text("net act=linear\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool"))
    with pytest.raises(EvaluationError, match="codes of 3 images have rank 2"):
        log_determinant(np.array([[3.0, 3, 1], [3, 3, 1], [1, 1, 3]]))


def test_running_out_of_memory_fails_the_architecture(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(_arch: Architecture) -> nn.Sequential:
        raise MemoryError

    monkeypatch.setattr(naswot, "build_model", build)
    with pytest.raises(EvaluationError, match="out of memory with 32 images"):
        Naswot(data).scores(ARCH)


def test_the_description_is_json_and_differs_between_scorers(data: ImageData) -> None:
    described = dict(Naswot(data).describe())
    assert json.loads(json.dumps(described)) == described
    assert described["images"] == 32
    others = [Naswot(data, seed=1), Naswot(data, images=8), Naswot(make_data(62))]
    assert all(other.describe() != described for other in others)
