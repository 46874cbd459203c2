"""Arguments of a wrong type: one message for each, and nothing is done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas

ARCH = nas.load_architecture("mnasnet-small")
SEARCH: dict[str, Any] = {"target": "flops=400M", "evaluator": "zero-cost:params", "trials": 1}
CALLS: dict[str, Callable[[], Any]] = {
    "phi is 'x'": lambda: nas.scale(ARCH, "x"),  # type: ignore[arg-type]
    "phi is None": lambda: nas.scale(ARCH, None),  # type: ignore[arg-type]
    "phi is nan": lambda: nas.scale(ARCH, float("nan")),
    "rule is 5": lambda: nas.scale(ARCH, 1, rule=5),  # type: ignore[arg-type]
    "rule is None": lambda: nas.scale_family(ARCH, rule=None),  # type: ignore[arg-type]
    "keep is 5": lambda: nas.scale(ARCH, 1, keep=5),  # type: ignore[arg-type]
    "keep is \\[5, 'stem'\\]": lambda: nas.scale(ARCH, 1, keep=[5, "stem"]),  # type: ignore[list-item]
    "budget is 400000000.0": lambda: nas.scale_to_budget(ARCH, 400e6),  # type: ignore[arg-type]
    "seconds is '1'": lambda: nas.measure_latency(ARCH, seconds="1"),  # type: ignore[arg-type]
    "spread is None": lambda: nas.measure_latency(ARCH, spread=None),  # type: ignore[arg-type]
    "device is 5": lambda: nas.measure_latency(ARCH, device=5),  # type: ignore[arg-type]
    "device is \\[5\\]": lambda: nas.measure_latency(ARCH, device=[5]),  # type: ignore[list-item]
    "weights is 5": lambda: nas.to_onnx(ARCH, 5),  # type: ignore[arg-type]
    "name is 5": lambda: nas.load_space(5),  # type: ignore[arg-type]
    "fix is \\['a'\\]": lambda: nas.load_space("mnasnet", fix=["a"]),  # type: ignore[arg-type]
    "resolution is 'x'": lambda: nas.load_space("mnasnet", resolution="x"),  # type: ignore[arg-type]
    "classes is -1": lambda: nas.load_space("mnasnet", classes=-1),
    "space is 5": lambda: nas.search(5, **SEARCH),  # type: ignore[arg-type]
    "pretrained is 5": lambda: nas.search(pretrained=5, **SEARCH),  # type: ignore[arg-type]
    "fix is \\['x'\\]": lambda: nas.search(**SEARCH | {"fix": ["x"]}),
    "storage is None": lambda: nas.search(**SEARCH | {"storage": None}),
    "study is 5": lambda: nas.search(**SEARCH | {"study": 5}),
    "target is 400000000.0": lambda: nas.search(**SEARCH | {"target": 400e6}),
    "data is 5": lambda: nas.search(**SEARCH | {"data": 5}),
    "sampler is 5": lambda: nas.search(**SEARCH | {"sampler": 5}),
    "table is 5": lambda: nas.search(**SEARCH | {"table": 5}),
    "train_on is 5": lambda: nas.search(**SEARCH | {"train_on": 5}),
    "w is inf": lambda: nas.search(**SEARCH | {"w": float("inf")}),
    "trial_cpus is inf": lambda: nas.search(**SEARCH | {"trial_cpus": float("inf")}),
    "name is None": lambda: nas.open_study(None),  # type: ignore[arg-type]
    "storage is PosixPath": lambda: nas.open_study("x", storage=Path("x.db")),  # type: ignore[arg-type]
    "storage is 5": lambda: nas.study_names(storage=5),  # type: ignore[arg-type]
    "reference is 5": lambda: nas.load_architecture(5),  # type: ignore[arg-type]
    "path is 5": lambda: nas.save_architecture(ARCH, 5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("problem", CALLS)
def test_a_wrong_type_is_named_with_what_to_give(problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(nas.NasError, match=f"^{problem}") as error:
        CALLS[problem]()
    assert error.value.remedy
    assert not [*tmp_path.iterdir()]


def test_what_is_right_by_default_may_be_given() -> None:
    assert nas.load_space("mnasnet", fix=None, resolution=None).size == nas.load_space(Path("mnasnet")).size
    assert nas.to_onnx(ARCH, None).producer_name == "nas"
