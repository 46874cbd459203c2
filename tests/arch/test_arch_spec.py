"""Tests of the records: they are frozen and hashable, and cannot be created with invalid values."""

import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from nas.arch.presets import preset
from nas.arch.spec import Architecture, ConvHead, ConvStem, Gate, MaxPoolStem, MlpHead, Norm, PoolHead, Stage
from nas.errors import ArchitectureError
from tests.strategies import architectures

_VALID: dict[type[Any], dict[str, Any]] = {
    Gate: {"ratio": 0.25},
    Stage: {"operator": "mbconv", "channels": 16},
    ConvStem: {"channels": 32},
    ConvHead: {"channels": 1280},
    PoolHead: {},
    MaxPoolStem: {"channels": 64},
    MlpHead: {"channels": 960, "features": 1280},
    Norm: {},
    Architecture: {"stem": ConvStem(8), "stages": (Stage("conv", 8),), "head": PoolHead()},
}
_INVALID_WORDS: list[Any] = ["", "Relu", "relu ", None, 1, ["relu"], b"relu"]
_INVALID_COUNTS: list[Any] = [0, -1, 1.0, 2.5, True, "3", None, 2**31, 10**400, float("nan"), [3]]
_INVALID_KERNELS: list[Any] = [*_INVALID_COUNTS, 2, 4, 101]
_INVALID_STRIDES: list[Any] = [*_INVALID_COUNTS, 5]
_INVALID_RATES: list[Any] = [-0.1, 1.0, 1, True, "0.2", None, float("nan"), float("inf"), 10**400]

_INVALID: dict[type[Any], dict[str, list[Any]]] = {
    Gate: {
        "ratio": [0, -0.25, 1.5, True, "0.25", None, float("nan"), float("inf"), 10**400],
        "of": _INVALID_WORDS,
        "activation": _INVALID_WORDS,
        "gate": [*_INVALID_WORDS, "relu"],
        "divisor": [*_INVALID_COUNTS, 65],
    },
    Stage: {
        "operator": [*_INVALID_WORDS, "absent", "MBConv"],
        "channels": _INVALID_COUNTS,
        "layers": [*_INVALID_COUNTS, 1001],
        "kernel": _INVALID_KERNELS,
        "stride": _INVALID_STRIDES,
        "expansion": [0, 0.99, -6, 101, True, "6", None, float("nan"), float("inf"), 10**400],
        "gate": [0.25, "se0.25", {"ratio": 0.25}, False],
        "skip": [*_INVALID_WORDS, "noskip"],
        "activation": _INVALID_WORDS,
        "divisor": [*_INVALID_COUNTS, 65],
    },
    ConvStem: {
        "channels": _INVALID_COUNTS,
        "kernel": _INVALID_KERNELS,
        "stride": _INVALID_STRIDES,
        "activation": _INVALID_WORDS,
    },
    ConvHead: {"channels": _INVALID_COUNTS, "dropout": _INVALID_RATES, "activation": _INVALID_WORDS},
    PoolHead: {"dropout": _INVALID_RATES},
    MaxPoolStem: {
        "channels": _INVALID_COUNTS,
        "kernel": _INVALID_KERNELS,
        "stride": _INVALID_STRIDES,
        "activation": _INVALID_WORDS,
    },
    MlpHead: {
        "channels": _INVALID_COUNTS,
        "features": _INVALID_COUNTS,
        "dropout": _INVALID_RATES,
        "activation": _INVALID_WORDS,
    },
    Norm: {
        "momentum": [-0.1, 1.1, True, "0.1", None, float("nan"), 10**400],
        "eps": [0, -1e-5, 1.5, True, "1e-5", None, float("nan"), 10**400],
    },
    Architecture: {
        "stem": [None, "conv", Stage("conv", 8), PoolHead()],
        "stages": [(), [], None, 5, "conv", (ConvStem(8),), (None,), [Stage("conv", 8), 3], {"a": 1}],
        "head": [None, "pool", Stage("conv", 8), ConvStem(8)],
        "resolution": _INVALID_COUNTS,
        "in_channels": _INVALID_COUNTS,
        "classes": _INVALID_COUNTS,
        "padding": [*_INVALID_WORDS, "valid"],
        "norm": [None, 0.1, (0.1, 1e-5)],
        "drop_path": _INVALID_RATES,
    },
}
_RECORDS = list(_VALID)
_INVALID_FIELDS = [(record, name) for record, fields in _INVALID.items() for name in fields]


@pytest.mark.parametrize("record", _RECORDS)
def test_the_invalid_values_cover_every_field_of_every_record(record: type[Any]) -> None:
    assert set(attrs.fields_dict(record)) == set(_INVALID[record])


@pytest.mark.parametrize(("record", "name"), _INVALID_FIELDS)
def test_an_invalid_value_is_rejected_with_its_field_and_a_remedy(record: type[Any], name: str) -> None:
    for value in _INVALID[record][name]:
        with pytest.raises(ArchitectureError) as caught:
            record(**_VALID[record] | {name: value})
        stages = isinstance(value, tuple | list | dict) and name == "stages"
        assert ("stage" if stages else name) in caught.value.problem, value
        assert caught.value.remedy, value
        assert len(str(caught.value)) < 300, value


@pytest.mark.parametrize("operator", ["conv", "dsconv", "basic"])
def test_only_expanding_operators_have_an_expansion(operator: str) -> None:
    with pytest.raises(ArchitectureError, match="expansion 6"):
        Stage(operator, 16, expansion=6)


@pytest.mark.parametrize("record", _RECORDS)
def test_records_are_frozen(record: type[Any]) -> None:
    made = record(**_VALID[record])
    for name in attrs.fields_dict(record):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(made, name, getattr(made, name))


@given(architectures())
@settings(deadline=None)
def test_equal_architectures_are_the_same_dictionary_key(arch: Architecture) -> None:
    same = attrs.evolve(arch, stages=list(map(attrs.evolve, arch.stages)))
    assert same == arch
    assert {arch: 1}[same] == 1
    assert isinstance(same.stages, tuple)


def test_whole_numbers_and_floats_of_equal_value_are_equal() -> None:
    assert Stage("mbconv", 16, expansion=6) == Stage("mbconv", 16, expansion=6.0)
    assert hash(Norm(1, 1)) == hash(Norm(1.0, 1.0))


def test_a_pickled_architecture_is_restored_as_an_equal_key() -> None:
    arch = preset("efficientnet-b0")
    assert {arch: 1}[pickle.loads(pickle.dumps(arch))] == 1  # noqa: S301 - its own bytes


def test_adapted_changes_only_the_resolution_and_the_classes() -> None:
    arch = preset("mnasnet-a1")
    small = arch.adapted(resolution=32, classes=10)
    assert (small.resolution, small.classes) == (32, 10)
    assert attrs.evolve(small, resolution=224, classes=1000) == arch
