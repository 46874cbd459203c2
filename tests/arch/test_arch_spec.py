"""The records: frozen, hashable, and impossible to make wrong."""

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
_NO_WORD: list[Any] = ["", "Relu", "relu ", None, 1, ["relu"], b"relu"]
_NO_COUNT: list[Any] = [0, -1, 1.0, 2.5, True, "3", None, 2**31, 10**400, float("nan"), [3]]
_NO_KERNEL: list[Any] = [*_NO_COUNT, 2, 4, 101]
_NO_STRIDE: list[Any] = [*_NO_COUNT, 5]
_NO_RATE: list[Any] = [-0.1, 1.0, 1, True, "0.2", None, float("nan"), float("inf"), 10**400]

_BAD: dict[type[Any], dict[str, list[Any]]] = {
    Gate: {
        "ratio": [0, -0.25, 1.5, True, "0.25", None, float("nan"), float("inf"), 10**400],
        "of": _NO_WORD,
        "activation": _NO_WORD,
        "gate": [*_NO_WORD, "relu"],
        "divisor": [*_NO_COUNT, 65],
    },
    Stage: {
        "operator": [*_NO_WORD, "absent", "MBConv"],
        "channels": _NO_COUNT,
        "layers": [*_NO_COUNT, 1001],
        "kernel": _NO_KERNEL,
        "stride": _NO_STRIDE,
        "expansion": [0, 0.99, -6, 101, True, "6", None, float("nan"), float("inf"), 10**400],
        "gate": [0.25, "se0.25", {"ratio": 0.25}, False],
        "skip": [*_NO_WORD, "noskip"],
        "activation": _NO_WORD,
    },
    ConvStem: {"channels": _NO_COUNT, "kernel": _NO_KERNEL, "stride": _NO_STRIDE, "activation": _NO_WORD},
    ConvHead: {"channels": _NO_COUNT, "dropout": _NO_RATE, "activation": _NO_WORD},
    PoolHead: {"dropout": _NO_RATE},
    MaxPoolStem: {"channels": _NO_COUNT, "kernel": _NO_KERNEL, "stride": _NO_STRIDE, "activation": _NO_WORD},
    MlpHead: {"channels": _NO_COUNT, "features": _NO_COUNT, "dropout": _NO_RATE, "activation": _NO_WORD},
    Norm: {
        "momentum": [-0.1, 1.1, True, "0.1", None, float("nan"), 10**400],
        "eps": [0, -1e-5, 1.5, True, "1e-5", None, float("nan"), 10**400],
    },
    Architecture: {
        "stem": [None, "conv", Stage("conv", 8), PoolHead()],
        "stages": [(), [], None, 5, "conv", (ConvStem(8),), (None,), [Stage("conv", 8), 3], {"a": 1}],
        "head": [None, "pool", Stage("conv", 8), ConvStem(8)],
        "resolution": _NO_COUNT,
        "in_channels": _NO_COUNT,
        "classes": _NO_COUNT,
        "padding": [*_NO_WORD, "valid"],
        "norm": [None, 0.1, (0.1, 1e-5)],
        "drop_path": _NO_RATE,
    },
}
_RECORDS = list(_VALID)
_BAD_FIELDS = [(record, name) for record, fields in _BAD.items() for name in fields]


@pytest.mark.parametrize("record", _RECORDS)
def test_every_field_of_every_record_has_its_bad_values_here(record: type[Any]) -> None:
    assert set(attrs.fields_dict(record)) == set(_BAD[record])


@pytest.mark.parametrize(("record", "name"), _BAD_FIELDS)
def test_a_bad_value_is_refused_with_its_field_and_a_remedy(record: type[Any], name: str) -> None:
    for value in _BAD[record][name]:
        with pytest.raises(ArchitectureError) as caught:
            record(**_VALID[record] | {name: value})
        stages = isinstance(value, tuple | list | dict) and name == "stages"
        assert ("stage" if stages else name) in caught.value.problem, value
        assert caught.value.remedy, value
        assert len(str(caught.value)) < 300, value


@pytest.mark.parametrize("operator", ["conv", "dsconv", "basic"])
def test_only_expanding_operators_expand(operator: str) -> None:
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
def test_equal_architectures_are_one_key(arch: Architecture) -> None:
    same = attrs.evolve(arch, stages=list(map(attrs.evolve, arch.stages)))
    assert same == arch
    assert {arch: 1}[same] == 1
    assert isinstance(same.stages, tuple)


def test_whole_numbers_and_floats_of_equal_value_are_equal() -> None:
    assert Stage("mbconv", 16, expansion=6) == Stage("mbconv", 16, expansion=6.0)
    assert hash(Norm(1, 1)) == hash(Norm(1.0, 1.0))


def test_a_pickled_architecture_comes_back_equal_and_as_the_same_key() -> None:
    arch = preset("efficientnet-b0")
    assert {arch: 1}[pickle.loads(pickle.dumps(arch))] == 1  # noqa: S301 - its own bytes


def test_adapted_changes_images_and_labels_alone() -> None:
    arch = preset("mnasnet-a1")
    small = arch.adapted(resolution=32, classes=10)
    assert (small.resolution, small.classes) == (32, 10)
    assert attrs.evolve(small, resolution=224, classes=1000) == arch
