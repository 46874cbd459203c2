"""The known network that a winner is compared with: inside every limit, and nearest to the first."""

from functools import cache

import attrs
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.arch.multiply import multiply
from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS
from nas.cost.base import Cost, Target
from nas.cost.target import parse_target
from nas.search.baseline import WIDTHS, find_baseline
from nas.space.files import find_space

MNASNET = find_space("mnasnet")
TARGETS = ["flops=30M", "flops=100M", "flops=320M", "flops=400M", "flops=900M", "flops=2.5G", "params=3M", "params=9M"]


def known() -> list[Architecture]:
    presets = [preset(name).adapted(resolution=224, classes=1000) for name in MNASNET.baselines]
    widths = [i / 100 for i in range(10, 401)]
    return [*presets, *(multiply(arch, width=w, keep=() if w > 1 else ("head",)) for arch in presets for w in widths)]


def cost(target: Target, arch: Architecture) -> float:
    return target.cost.estimate(arch).value


@pytest.mark.parametrize("text", TARGETS)
def test_it_is_within_the_target_and_nearest(text: str) -> None:
    target = parse_target(text)
    found = find_baseline(MNASNET, [target])
    assert found is not None
    name, arch = found
    best = max(value for value in (cost(target, one) for one in known()) if value <= target.limit)
    if " x" in name:
        assert cost(target, arch) == best
    else:
        assert 0.95 * target.limit <= cost(target, arch) <= target.limit


@pytest.mark.parametrize("texts", [("flops=320M", "params=3M"), ("flops=600M", "peak_memory=5MB")])
def test_it_is_within_the_other_targets_too(texts: tuple[str, str]) -> None:
    targets = [parse_target(text) for text in texts]
    found = find_baseline(MNASNET, targets)
    assert found is not None
    assert all(cost(target, found[1]) <= target.limit for target in targets)
    fitting = [one for one in known() if all(cost(target, one) <= target.limit for target in targets)]
    assert cost(targets[0], found[1]) == max(cost(targets[0], one) for one in fitting)


@frozen
class Guided:
    """Measure multiply-adds, and predict them with an error that differs from network to network."""

    error: float
    measured: list[Architecture] = field(factory=list)

    def estimate(self, arch: Architecture) -> Cost:
        if arch not in self.measured:
            self.measured.append(arch)
        return MACS.estimate(arch)

    def predict_roughly(self, arch: Architecture) -> float:
        return MACS.estimate(arch).value * (1 + self.error * (1 - arch.stem.channels / 100))


@pytest.mark.parametrize("error", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("text", ["flops=100M", "flops=900M"])
def test_few_networks_are_measured_where_costs_are_predicted(text: str, error: float) -> None:
    exact, guided = parse_target(text), Guided(error)
    found = find_baseline(MNASNET, [attrs.evolve(exact, cost=guided)])  # type: ignore[arg-type]
    assert found is not None
    assert 0.95 * exact.limit <= cost(exact, found[1]) <= exact.limit
    # As published, and at most three widths of each of three networks.
    assert len(guided.measured) <= 3 + 3 * 3


def test_a_published_network_of_that_cost_is_taken_as_it_is() -> None:
    found = find_baseline(MNASNET, [parse_target("flops=310M")])
    assert found is not None
    assert found[0] == "mobilenetv2"
    assert found[1] == preset("mobilenetv2")


def test_it_solves_the_spaces_task() -> None:
    found = find_baseline(MNASNET.for_target(resolution=64, classes=7), [parse_target("flops=20M")])
    assert found is not None
    assert (found[1].resolution, found[1].classes) == (64, 7)
    assert cost(parse_target("flops=20M"), found[1]) <= 20e6


def test_none_where_none_is_small_enough_or_none_is_named() -> None:
    assert find_baseline(MNASNET, [parse_target("flops=10k")]) is None
    assert find_baseline(attrs.evolve(MNASNET, baselines=()), [parse_target("flops=400M")]) is None


@cache
def widths(name: str) -> tuple[Architecture, ...]:
    arch = preset(name).adapted(resolution=224, classes=1000)
    return tuple(multiply(arch, width=width, keep=() if width > 1 else ("head",)) for width in WIDTHS)


def scanned(targets: list[Target]) -> tuple[str, Architecture] | None:
    """What `find_baseline` says, without its short cuts."""
    presets = [(name, preset(name)) for name in MNASNET.baselines]
    for name, arch in presets:
        fits = all(cost(target, arch) <= target.limit for target in targets)
        if fits and cost(targets[0], arch) >= 0.95 * targets[0].limit:
            return name, arch
    best: tuple[str, Architecture] | None = None
    for name, _ in presets:
        fitting = [i for i, wide in enumerate(widths(name)) if all(cost(t, wide) <= t.limit for t in targets)]
        if fitting and (best is None or cost(targets[0], widths(name)[fitting[-1]]) > cost(targets[0], best[1])):
            best = f"{name} x{WIDTHS[fitting[-1]]:g}", widths(name)[fitting[-1]]
    return best


@pytest.mark.slow
@given(
    st.lists(
        st.one_of(
            st.integers(5, 6000).map("flops={}M".format),
            st.integers(200, 60_000).map("params={}k".format),
            st.integers(1, 60).map("peak_memory={}MB".format),
            st.integers(1, 200).map("size={}MB".format),
        ),
        min_size=1,
        max_size=2,
    )
)
@settings(max_examples=25)
def test_few_looks_find_what_looking_at_every_width_finds(texts: list[str]) -> None:
    targets = [parse_target(text) for text in texts]
    assert find_baseline(MNASNET, targets) == scanned(targets)


def test_only_a_few_widths_are_looked_at() -> None:
    asked: list[Architecture] = []

    class Asked:
        def estimate(self, arch: Architecture) -> Cost:
            asked.append(arch)
            return MACS.estimate(arch)

        many, span = MACS.many, MACS.span

    target = attrs.evolve(parse_target("flops=700M"), cost=Asked())
    assert find_baseline(MNASNET, [target]) == find_baseline(MNASNET, [parse_target("flops=700M")])
    assert len(set(asked)) <= len(MNASNET.baselines) * (2 + len(WIDTHS).bit_length())
