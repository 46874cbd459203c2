"""Zero-cost scores: the raw scores, their normalization, and how well they rank trained networks."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.arch.code import parse_text
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.data.load import load_images
from nas.errors import EvaluationError, NasError
from nas.evaluate.base import Evaluator, Timed
from nas.evaluate.table.evaluator import read_table
from nas.evaluate.zero_cost.evaluator import ZeroCostEvaluator
from nas.evaluate.zero_cost.naswot import Naswot
from nas.evaluate.zero_cost.scale import make_scale
from nas.evaluate.zero_cost.scores import PARTS, depth, needs_images, raw_scores
from nas.space.files import find_space
from tests.contracts.evaluator import SMALL, EvaluatorContract
from tests.evaluate.colors import make_data
from tests.search.fakes import SMALLEST, make_space

SPACE = make_space()


class ZeroCostContract(EvaluatorContract):
    epochs = 1
    name = ""

    def evaluator(self) -> Evaluator:
        naswot = Naswot(make_data(), images=8) if needs_images(self.name) else None
        return ZeroCostEvaluator(self.name, SPACE, naswot, sample=8)


class TestNaswot(ZeroCostContract):
    name = "naswot"


class TestDistinctness(ZeroCostContract):
    name = "distinctness"


class TestDepth(ZeroCostContract):
    name = "depth"


class TestMacs(ZeroCostContract):
    name = "macs"


class TestParams(ZeroCostContract):
    name = "params"


class TestCombined(ZeroCostContract):
    name = "combined"


def test_the_contract_runs_for_every_score() -> None:
    assert {contract.name for contract in ZeroCostContract.__subclasses__()} == PARTS.keys()


@frozen
class FakeScorer:
    """Score without images; architectures with fewer than `least` layers have no score."""

    least: int = 0

    def check(self, arch: Architecture) -> None:
        if arch.in_channels != 3:
            raise NasError("no color images")

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        if depth(arch) < self.least:
            raise EvaluationError("too shallow")
        channels = float(arch.stages[0].channels)
        return {"naswot": -channels, "distinctness": channels}

    def describe(self) -> Mapping[str, Any]:
        return {"data": "none"}


def score_of(evaluator: ZeroCostEvaluator, arch: Architecture) -> float:
    (score,) = evaluator.evaluate(arch, 7)
    return score


def test_depth_counts_the_layers_with_an_activation() -> None:
    text = "net resolution=32 classes=10\nstem conv k3 s2 c8\n{}\nhead conv c16"
    for stages, layers in {
        "conv k1 s2 c8 linear": 0,
        "conv k1 s2 c8 linear\nmbconv r3 k3 s1 e6 c8 se0.25": 3,
        "conv r2 k3 s1 c8\nmbconv k3 s1 e1 c8": 3,
    }.items():
        assert depth(parse_text(text.format(stages))) == layers


def test_depth_in_nasbench_macro_is_the_number_of_layers_that_are_not_identities() -> None:
    space = find_space("nasbench_macro")
    for indices in space.sample(np.random.default_rng(0), 20):
        assert depth(space.from_indices(indices)) == np.count_nonzero(indices)


def test_a_published_network_has_its_published_counts() -> None:
    found = raw_scores(preset("mobilenetv2"))
    assert found == {"depth": 17, "macs": pytest.approx(300.77e6, rel=1e-4), "params": 3_504_872}
    assert list(raw_scores(preset("mobilenetv2"), FakeScorer())) == [
        "naswot",
        "distinctness",
        "depth",
        "macs",
        "params",
    ]


def test_two_texts_of_one_network_have_the_same_scores() -> None:
    text = "net resolution=32 classes=10\nstem conv k3 s2 c8\n{}\nhead conv c16"
    whole, parts = text.format("conv r2 k3 s1 c8"), text.format("conv k3 s1 c8\nconv k3 s1 c8")
    naswot = Naswot(make_data(), images=8)
    assert raw_scores(parse_text(whole), naswot) == raw_scores(parse_text(parts), naswot)


def test_a_normalized_score_is_the_logistic_function_of_standard_deviations() -> None:
    single = make_scale([[0.0], [2.0]], ["depth"])
    assert single.normalize([1.0]) == 0.5
    assert single.normalize([2.0]) == pytest.approx(1 / (1 + math.exp(-1)))
    correlated = make_scale([[0.0, 0.0], [2.0, 20.0]], ["naswot", "depth"])
    assert correlated.normalize([2.0, 20.0]) == pytest.approx(1 / (1 + math.exp(-1)))
    uncorrelated = make_scale([[0.0, 0.0], [2.0, 20.0], [0.0, 20.0], [2.0, 0.0]], ["naswot", "depth"])
    assert uncorrelated.normalize([2.0, 20.0]) == pytest.approx(1 / (1 + math.exp(-math.sqrt(2))))


def test_raw_scores_that_cancel_out_are_an_error() -> None:
    with pytest.raises(NasError, match="naswot and depth is the same for all 2"):
        make_scale([[0.0, 2.0], [2.0, 0.0]], ["naswot", "depth"])


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=2), st.integers(0, 1), st.floats(0.01, 3))
def test_a_normalized_score_rises_with_each_raw_score_even_at_the_top(raw: list[float], part: int, more: float) -> None:
    scale = make_scale([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]], ["naswot", "depth"])
    better = [value + more * (i == part) for i, value in enumerate(raw)]
    assert 0 < scale.normalize(raw) < scale.normalize(better) < 1


@pytest.mark.parametrize("name", ["depth", "macs", "params"])
def test_normalized_scores_rank_architectures_as_raw_scores_do(name: str) -> None:
    evaluator = ZeroCostEvaluator(name, SPACE, sample=16)
    archs = [SPACE.from_indices(indices) for indices in SPACE.enumerate()]
    normalized = [score_of(evaluator, arch) for arch in archs]
    raw = [evaluator.metadata(arch)[name] for arch in archs]
    assert kendalltau(normalized, raw).statistic == pytest.approx(1)
    assert len(set(normalized)) == len(set(raw)) > 1


def test_metadata_has_the_parts_and_scores_has_all_raw_scores() -> None:
    evaluator = ZeroCostEvaluator("combined", SPACE, FakeScorer(), sample=8)
    assert evaluator.metadata(SMALL) == {"naswot": -8.0, "distinctness": 8.0, "depth": 1.0}
    assert evaluator.scores(SMALL).keys() == {"naswot", "distinctness", "depth", "macs", "params"}
    assert ZeroCostEvaluator("macs", SPACE, FakeScorer(), sample=8).scores(SMALL).keys() == {"depth", "macs", "params"}


def test_the_random_architectures_depend_on_the_seed_and_the_space() -> None:
    evaluator = ZeroCostEvaluator("depth", SPACE)
    assert len(evaluator.references) == 64
    assert evaluator.references == ZeroCostEvaluator("macs", SPACE).references
    others = [
        ZeroCostEvaluator("depth", SPACE, seed=1),
        ZeroCostEvaluator("depth", SPACE, sample=63),
        ZeroCostEvaluator("depth", SPACE.fix({"stage1.kernel": 3})),
        ZeroCostEvaluator("depth", SPACE.for_target(resolution=64)),
        ZeroCostEvaluator("macs", SPACE),
    ]
    described = [json.dumps(one.describe()) for one in (evaluator, *others)]
    assert len(set(described)) == len(described)


def test_random_architectures_without_a_score_are_skipped() -> None:
    evaluator = ZeroCostEvaluator("combined", SPACE, FakeScorer(least=3), sample=32)
    with pytest.raises(NasError, match=r"depth is the same for all 1\d random architectures"):
        score_of(evaluator, SMALL)
    evaluator = ZeroCostEvaluator("naswot", SPACE, FakeScorer(least=3), sample=32)
    deep = next(arch for arch in evaluator.references if depth(arch) == 3)
    assert 0 < score_of(evaluator, deep) < 1
    with pytest.raises(EvaluationError, match="too shallow"):
        score_of(evaluator, SMALL)
    with pytest.raises(NasError, match="naswot exists for 0 of 8 random architectures of space tiny"):
        score_of(ZeroCostEvaluator("naswot", SPACE, FakeScorer(least=9), sample=8), SMALL)


def test_bad_input_is_an_error_before_anything_is_scored() -> None:
    with pytest.raises(NasError, match="no zero-cost score 'magic'") as caught:
        ZeroCostEvaluator("magic", SPACE)
    assert "naswot, distinctness, depth, macs, params, combined" in str(caught.value)
    with pytest.raises(NasError, match="depth is the same for all 64"):
        ZeroCostEvaluator("combined", make_space(SMALLEST), FakeScorer())
    with pytest.raises(NasError, match="combined needs images"):
        ZeroCostEvaluator("combined", SPACE)
    gray = parse_text("net channels=1 resolution=32 classes=10\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool")
    with pytest.raises(NasError, match="takes 1 channels"):
        ZeroCostEvaluator("naswot", SPACE, Naswot(make_data())).evaluate(gray, 1)
    assert 0 < score_of(ZeroCostEvaluator("depth", SPACE, sample=8), gray) < 1


def test_the_duration_of_scoring_is_estimated() -> None:
    evaluator = ZeroCostEvaluator("naswot", SPACE, Naswot(make_data()), sample=8)
    assert isinstance(evaluator, Timed)
    assert 0 < evaluator.seconds_per_epoch(SMALL) < 60


@pytest.mark.slow
def test_the_combined_score_ranks_trained_networks() -> None:
    """The bound 0.62 is three standard deviations of the tau of 60 networks below the tau of 1,000 networks.

    Bonett & Wright (2000) give the standard deviation.
    """
    if "NAS_TEST_DATA" not in os.environ:
        pytest.skip("NAS_TEST_DATA does not name the folder of test data")
    folder = Path(os.environ["NAS_TEST_DATA"])
    space = find_space("nasbench_macro")
    rows = read_table(folder / "nasbench_macro.parquet", space, "acc_mean", ["op*"]).rows
    chosen = np.random.default_rng(1).choice(len(rows), 60, replace=False)
    archs = [list(rows)[i] for i in chosen]
    data = load_images(str(folder / "cifar10_small"), resolution=32, images=500)
    evaluator = ZeroCostEvaluator("combined", space, Naswot(data), sample=16)
    normalized = [score_of(evaluator, arch) for arch in archs]
    assert kendalltau(normalized, [rows[arch].accuracy for arch in archs]).statistic > 0.62
