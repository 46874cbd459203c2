"""Tests of the text form of targets and of the messages for invalid ones."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from nas.arch.presets import preset
from nas.arch.spec import Architecture
from nas.cost.analytic import MACS, PARAMS, cost
from nas.cost.base import Cost, Target, format_amount
from nas.cost.target import KINDS, OnDevice, needs_device, parse_target
from nas.errors import TargetError

_COUNTS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECONDS = {"us": Fraction(1, 1000), "ms": Fraction(1), "s": Fraction(1000)}
_UNITS: Mapping[str, Mapping[str, int | Fraction]] = {
    "flops": _COUNTS,
    "params": _COUNTS,
    "peak_memory": _BYTES,
    "size": _BYTES,
    "latency": _SECONDS,
}
_NAMED_UNITS = [(name, unit) for name, units in _UNITS.items() for unit in units]


@frozen
class FakeJudge:
    """Return one millisecond for every architecture."""

    def together(self, archs: Sequence[Architecture]) -> list[Cost]:
        return [Cost(1.0, "ms", "constant") for _ in archs]


# The cost model does not matter in these tests.
ON_CPU = OnDevice(MACS, FakeJudge(), "cpu:threads=2", {"by": "measuring"})


def parse(text: str, precision: str = "fp32") -> Target:
    """Read a target with a device for latencies."""
    return parse_target(text, precision, ON_CPU)


@given(st.sampled_from(_NAMED_UNITS), st.decimals(0, 10**9, places=4).filter(lambda number: number > 0))
def test_a_limit_is_its_number_times_its_unit(named: tuple[str, str], number: object) -> None:
    name, unit = named
    target = parse(f"{name}={number}{unit}")
    assert target.limit == pytest.approx(float(Fraction(str(number)) * _UNITS[name][unit]), rel=1e-12)
    assert target.name == name


@given(st.sampled_from(_NAMED_UNITS), st.integers(1, 10**9))
def test_equal_targets_have_equal_texts_that_are_read_back(named: tuple[str, str], number: int) -> None:
    name, unit = named
    target = parse(f"{name}={number}{unit}")
    asked, on, device = target.text.partition(" on ")
    assert (on + device == " on cpu:threads=2") == (name == "latency")
    assert parse(asked).limit == target.limit
    assert parse(asked).text == target.text


def test_the_text_is_in_the_largest_unit() -> None:
    texts = [parse_target(text).text for text in ("flops=0.4G", "flops=400M", "flops= 400000 k", "params=0.0005k")]
    assert texts == ["flops=400M", "flops=400M", "flops=400M", "params=0.0005k"]


@pytest.mark.parametrize(("name", "model"), [("flops", MACS), ("params", PARAMS)])
def test_counts_are_macs_and_parameters(name: str, model: object) -> None:
    assert parse_target(f"{name}=400M").cost == model


def test_a_latency_target_takes_cost_and_basis_from_its_device() -> None:
    target = parse("latency=0.008s")
    assert (target.text, target.limit) == ("latency=8ms on cpu:threads=2", 8.0)
    assert (target.kept_as, target.unit) == ("latency_ms", "ms")
    assert (target.cost, target.judge) == (ON_CPU.cost, ON_CPU.judge)
    assert target.basis == {"by": "measuring"}
    assert parse("latency=8000us") == target


@pytest.mark.parametrize(
    ("text", "shown"), [("latency=0.5ms", "500us"), ("latency=0.25us", "0.25us"), ("latency=1500ms", "1.5s")]
)
def test_the_text_of_a_latency_is_in_the_largest_unit(text: str, shown: str) -> None:
    assert parse(text).text == f"latency={shown} on cpu:threads=2"


def test_a_latency_without_a_device_is_rejected() -> None:
    with pytest.raises(TargetError, match="latency=8ms is about a device, and none is named") as caught:
        parse_target("latency=8ms")
    assert "--device" in caught.value.remedy


@pytest.mark.parametrize("name", [name for name in KINDS if name != "latency"])
def test_other_targets_have_no_judge_and_an_empty_basis(name: str) -> None:
    target = parse(KINDS[name].example)
    assert (target.judge, dict(target.basis)) == (None, {})
    assert target == parse_target(KINDS[name].example)


@pytest.mark.parametrize(
    ("texts", "needed"),
    [
        ((), False),
        (("flops=400M", "params=5M", "peak_memory=8MB", "size=5MB"), False),
        (("latency=8ms",), True),
        (("flops=400M", "latency=8ms"), True),
        ((" latency = 8 ms",), True),
    ],
)
def test_only_latency_needs_a_device(texts: tuple[str, ...], needed: bool) -> None:
    assert needs_device(texts) == needed


@pytest.mark.parametrize("text", ["latency", "latency=8", "latency=8MB", "latencies=8ms", "=latency", "flops=8ms", ""])
def test_an_invalid_target_is_rejected_before_a_device_is_needed(text: str) -> None:
    for texts in ([text], ["latency=8ms", text], [text, "flops=400M"]):
        with pytest.raises(TargetError) as caught:
            needs_device(texts)
        assert repr(text) in caught.value.problem


@pytest.mark.parametrize(("precision", "weight", "bias"), [("fp32", 4, 4), ("fp16", 2, 2), ("int8", 1, 4)])
def test_size_is_counted_at_the_precision(precision: str, weight: int, bias: int) -> None:
    target = parse_target("size=20MB", precision)
    b0 = preset("efficientnet-b0")
    assert target.cost.estimate(b0).value == weight * cost(b0).weights + bias * cost(b0).biases
    assert (target.kept_as, target.limit) == ("size_bytes", 20e6)
    assert (precision in target.text) == (precision in target.unit) == (precision != "fp32")


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_memory_is_counted_at_the_precision(precision: str, size: int) -> None:
    target = parse_target("peak_memory=8MB", precision)
    b0 = preset("efficientnet-b0")
    assert target.cost.estimate(b0).value == size * cost(b0).peak_elements
    assert (precision in target.text) == (precision != "fp32")


@pytest.mark.parametrize(
    "text", ["flops=400M", "flops=400 M", "flops= 400M ", "flops=400.0M", "flops=0.4G", "flops=0400M"]
)
def test_several_forms_of_one_limit(text: str) -> None:
    assert parse_target(text).limit == 400_000_000


_AMOUNTS = [
    *("", " ", "M", "-5M", "+5M", "nanM", "infM", "nan", "inf", "1e6M", "0x10M", "1,000M", "4 00M", ".5M", "5.M"),
    *(
        "400",
        "400.5",
        "0M",
        "0.0M",
        "000M",
        "400m",
        "400MM",
        "400m ac",
        "400X",
        "400msec",
        "400M5",
        "400M=400M",
        "1.2.3M",
    ),
    *("9" * 16 + "M", "9" * 400 + "M", "1." + "1" * 16 + "M", "400%", "400\tM", "400M\n", "400\u00a0M", "²M", "Ⅳ M"),
    *("٤٠٠M", "４００M", "400\u041c"),
]


@pytest.mark.parametrize("name", list(_UNITS))
@pytest.mark.parametrize("amount", _AMOUNTS)
def test_an_invalid_amount_is_rejected_with_the_right_form(name: str, amount: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(f"{name}={amount}")
    assert repr(f"{name}={amount}") in caught.value.problem
    assert f"like {KINDS[name].example}" in caught.value.remedy
    assert all(unit in caught.value.remedy for unit in _UNITS[name])


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("flops", "MB"),
        ("flops", "ms"),
        ("params", "B"),
        ("peak_memory", "M"),
        ("peak_memory", "Mb"),
        ("size", "M"),
        ("latency", "m"),
        ("latency", "MS"),
        ("latency", "min"),
    ],
)
def test_the_unit_of_another_target_is_rejected(name: str, unit: str) -> None:
    with pytest.raises(TargetError, match=f"unknown unit '{unit}'"):
        parse_target(f"{name}=4{unit}")


def test_a_bare_number_has_its_own_message() -> None:
    with pytest.raises(TargetError, match="a bare number has no unit"):
        parse_target("flops=400000000")


@pytest.mark.parametrize("text", ["", "=", "=400M", "400M", "FLOPS=400M", "flop=4M", "ƒlops=4M"])
def test_an_unknown_target_is_rejected_with_the_known_ones(text: str) -> None:
    with pytest.raises(TargetError, match="unknown target") as caught:
        parse_target(text)
    assert all(name in caught.value.remedy for name in _UNITS)


@pytest.mark.parametrize("text", list(_UNITS))
def test_a_name_without_an_amount_is_rejected(text: str) -> None:
    with pytest.raises(TargetError, match="no number after '='"):
        parse_target(text)


def test_an_unknown_precision_is_rejected() -> None:
    with pytest.raises(TargetError, match="fp8"):
        parse_target("peak_memory=8MB", "fp8")


@given(st.text() | st.builds("{}={}".format, st.sampled_from(list(_UNITS)), st.text()))
def test_random_text_is_a_target_or_rejected_with_a_remedy(text: str) -> None:
    try:
        target = parse(text)
    except TargetError as error:
        reported = error
    else:
        assert 0 < target.limit < float("inf")
        return
    assert reported.problem
    assert reported.remedy


def test_every_example_is_a_valid_target() -> None:
    for name, kind in KINDS.items():
        assert parse(kind.example).name == name


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (398_200_000, "MACs", "398.2M MACs"),
        (3_887_038, "params", "3.887M params"),
        (37_745_880_000, "MACs", "37.75G MACs"),
        (999, "params", "999 params"),
        (1000, "params", "1k params"),
        (999_960, "params", "1M params"),
        (999_999_999, "MACs", "1G MACs"),
        (2e12, "MACs", "2T MACs"),
        (0, "MACs", "0 MACs"),
        (6_021_120, "bytes", "6.02 MB"),
        (100_000, "bytes", "0.10 MB"),
        (2_048, "bytes", "2,048 B"),
        (1, "bytes", "1 B"),
        (7.9123, "ms", "7.912 ms"),
        (0.034567, "ms", "0.03457 ms"),
    ],
)
def test_an_amount_as_text_for_people(value: float, unit: str, shown: str) -> None:
    assert format_amount(value, unit) == shown


@given(st.integers(1, 10**15))
def test_an_amount_is_shown_to_four_digits(value: int) -> None:
    number = format_amount(value, "MACs").removesuffix(" MACs")
    letter = number[-1] if number[-1] in _COUNTS else ""
    assert float(number.removesuffix(letter)) * _COUNTS.get(letter, 1) == pytest.approx(value, rel=6e-4)
