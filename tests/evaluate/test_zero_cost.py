"""Scores without training: what is counted, where it stands, and how it ranks trained networks."""

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
from nas.evaluate.base import Evaluator
from nas.evaluate.table.evaluator import read_table
from nas.evaluate.zero_cost.evaluator import PARTS, ZeroCostEvaluator, depth, make_scale, needs_images, scores
from nas.evaluate.zero_cost.naswot import Naswot
from nas.space.files import find_space
from tests.contracts.evaluator import SMALL, EvaluatorContract
from tests.evaluate.colours import make_data
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


def test_the_contract_is_run_for_every_name() -> None:
    assert {contract.name for contract in ZeroCostContract.__subclasses__()} == PARTS.keys()


@frozen
class Fake:
    """A measure of images without images; below `least` layers it has none."""

    least: int = 0

    def check(self, arch: Architecture) -> None:
        if arch.in_channels != 3:
            raise NasError("no colours")

    def scores(self, arch: Architecture) -> Mapping[str, float]:
        if depth(arch) < self.least:
            raise EvaluationError("too shallow")
        channels = float(arch.stages[0].channels)
        return {"naswot": -channels, "distinctness": channels}

    def describe(self) -> Mapping[str, Any]:
        return {"data": "none"}


def standing(evaluator: ZeroCostEvaluator, arch: Architecture) -> float:
    (one,) = evaluator.evaluate(arch, 7)
    return one


def test_depth_counts_layers_that_hold_an_activation() -> None:
    text = "net resolution=32 classes=10\nstem conv k3 s2 c8\n{}\nhead conv c16"
    for stages, layers in {
        "conv k1 s2 c8 linear": 0,
        "conv k1 s2 c8 linear\nmbconv r3 k3 s1 e6 c8 se0.25": 3,
        "conv r2 k3 s1 c8\nmbconv k3 s1 e1 c8": 3,
    }.items():
        assert depth(parse_text(text.format(stages))) == layers


def test_depth_of_nasbench_macro_is_the_number_of_its_codes_that_are_not_identities() -> None:
    space = find_space("nasbench_macro")
    for picks in space.sample(np.random.default_rng(0), 20):
        assert depth(space.from_picks(picks)) == np.count_nonzero(picks)


def test_published_networks_have_their_published_counts() -> None:
    found = scores(preset("mobilenetv2"))
    assert found == {"depth": 17, "macs": pytest.approx(300.77e6, rel=1e-4), "params": 3_504_872}
    assert list(scores(preset("mobilenetv2"), Fake())) == ["naswot", "distinctness", "depth", "macs", "params"]


def test_one_network_has_one_score_however_it_is_written() -> None:
    text = "net resolution=32 classes=10\nstem conv k3 s2 c8\n{}\nhead conv c16"
    whole, parts = text.format("conv r2 k3 s1 c8"), text.format("conv k3 s1 c8\nconv k3 s1 c8")
    naswot = Naswot(make_data(), images=8)
    assert scores(parse_text(whole), naswot) == scores(parse_text(parts), naswot)


def test_a_standing_is_the_logistic_function_of_standard_deviations() -> None:
    one = make_scale([[0.0], [2.0]], ["depth"])
    assert one.standing([1.0]) == 0.5
    assert one.standing([2.0]) == pytest.approx(1 / (1 + math.exp(-1)))
    alike = make_scale([[0.0, 0.0], [2.0, 20.0]], ["naswot", "depth"])
    assert alike.standing([2.0, 20.0]) == pytest.approx(1 / (1 + math.exp(-1)))
    apart = make_scale([[0.0, 0.0], [2.0, 20.0], [0.0, 20.0], [2.0, 0.0]], ["naswot", "depth"])
    assert apart.standing([2.0, 20.0]) == pytest.approx(1 / (1 + math.exp(-math.sqrt(2))))


def test_parts_that_cancel_out_are_told() -> None:
    with pytest.raises(NasError, match="naswot and depth is the same for all 2"):
        make_scale([[0.0, 2.0], [2.0, 0.0]], ["naswot", "depth"])


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=2), st.integers(0, 1), st.floats(0.01, 3))
def test_a_standing_rises_with_each_part_also_among_the_best(raw: list[float], part: int, more: float) -> None:
    scale = make_scale([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]], ["naswot", "depth"])
    better = [value + more * (i == part) for i, value in enumerate(raw)]
    assert 0 < scale.standing(raw) < scale.standing(better) < 1


@pytest.mark.parametrize("name", ["depth", "macs", "params"])
def test_standings_order_architectures_as_their_scores_do(name: str) -> None:
    evaluator = ZeroCostEvaluator(name, SPACE, sample=16)
    archs = [SPACE.from_picks(picks) for picks in SPACE.enumerate()]
    standings = [standing(evaluator, arch) for arch in archs]
    raw = [evaluator.metadata(arch)[name] for arch in archs]
    assert kendalltau(standings, raw).statistic == pytest.approx(1)
    assert len(set(standings)) == len(set(raw)) > 1


def test_remarks_hold_the_parts_and_scores_hold_all() -> None:
    evaluator = ZeroCostEvaluator("combined", SPACE, Fake(), sample=8)
    assert evaluator.metadata(SMALL) == {"naswot": -8.0, "distinctness": 8.0, "depth": 1.0}
    assert evaluator.scores(SMALL).keys() == {"naswot", "distinctness", "depth", "macs", "params"}
    assert ZeroCostEvaluator("macs", SPACE, Fake(), sample=8).scores(SMALL).keys() == {"depth", "macs", "params"}


def test_the_random_architectures_are_of_the_seed_and_the_space_given() -> None:
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


def test_random_architectures_without_a_score_are_left_out() -> None:
    evaluator = ZeroCostEvaluator("combined", SPACE, Fake(least=3), sample=32)
    with pytest.raises(NasError, match=r"depth is the same for all 1\d random architectures"):
        standing(evaluator, SMALL)
    evaluator = ZeroCostEvaluator("naswot", SPACE, Fake(least=3), sample=32)
    deep = next(arch for arch in evaluator.references if depth(arch) == 3)
    assert 0 < standing(evaluator, deep) < 1
    with pytest.raises(EvaluationError, match="too shallow"):
        standing(evaluator, SMALL)
    with pytest.raises(NasError, match="naswot can score 0 of 8 random architectures of space tiny"):
        standing(ZeroCostEvaluator("naswot", SPACE, Fake(least=9), sample=8), SMALL)


def test_bad_input_is_told_before_anything_is_scored() -> None:
    with pytest.raises(NasError, match="no zero-cost score 'magic'") as caught:
        ZeroCostEvaluator("magic", SPACE)
    assert "naswot, distinctness, depth, macs, params, combined" in str(caught.value)
    with pytest.raises(NasError, match="depth is the same for all 64"):
        ZeroCostEvaluator("combined", make_space(SMALLEST), Fake())
    with pytest.raises(NasError, match="combined needs images"):
        ZeroCostEvaluator("combined", SPACE)
    grey = parse_text("net channels=1 resolution=32 classes=10\nstem conv k3 s2 c8\nconv k3 s1 c8\nhead pool")
    with pytest.raises(NasError, match="takes 1 channels"):
        ZeroCostEvaluator("naswot", SPACE, Naswot(make_data())).evaluate(grey, 1)
    assert 0 < standing(ZeroCostEvaluator("depth", SPACE, sample=8), grey) < 1


def test_the_time_of_a_score_is_told() -> None:
    assert 0 < ZeroCostEvaluator("naswot", SPACE, Naswot(make_data()), sample=8).seconds_per_epoch(SMALL) < 60


@pytest.mark.slow
def test_the_combination_ranks_trained_networks() -> None:
    """0.62: three deviations of 60 networks' tau (Bonett & Wright 2000) below what 1,000 networks gave."""
    if "NAS_TEST_DATA" not in os.environ:
        pytest.skip("NAS_TEST_DATA does not name the folder of test data")
    folder = Path(os.environ["NAS_TEST_DATA"])
    space = find_space("nasbench_macro")
    rows = read_table(folder / "nasbench_macro.parquet", space, "acc_mean", ["op*"]).rows
    chosen = np.random.default_rng(1).choice(len(rows), 60, replace=False)
    archs = [list(rows)[i] for i in chosen]
    data = load_images(str(folder / "cifar10_small"), resolution=32, images=500)
    evaluator = ZeroCostEvaluator("combined", space, Naswot(data), sample=16)
    standings = [standing(evaluator, arch) for arch in archs]
    assert kendalltau(standings, [rows[arch].accuracy for arch in archs]).statistic > 0.62
