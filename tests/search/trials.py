"""Finished trials of all kinds, and how they are compared."""

import math
from datetime import datetime
from typing import Any

from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

KINDS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "step": FloatDistribution(0, 1, step=0.25),
    "width": IntDistribution(8, 64, step=8),
    "layers": IntDistribution(1, 64, log=True),
    "operator": CategoricalDistribution(("conv", "mbconv e3", None, True, 1.5, "ß\n\u2028")),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.floats() | st.sampled_from([0.1 + 0.2, math.inf, -math.inf, math.nan, 5e-324])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(lambda moment: moment.replace(fold=0))
KEYS = TEXTS.filter(lambda key: "\0" not in key)
ATTRIBUTES = st.dictionaries(KEYS, JSON, max_size=3)


@st.composite
def params(draw: st.DrawFn) -> dict[str, Any]:
    values = {
        "rate": draw(st.floats(1e-5, 1e-1)),
        "step": draw(st.integers(0, 4)) / 4,
        "width": 8 * draw(st.integers(1, 8)),
        "layers": draw(st.integers(1, 64)),
        "operator": draw(st.sampled_from(["conv", "mbconv e3", None, True, 1.5, "ß\n\u2028"])),
    }
    return {name: values[name] for name in draw(st.permutations(sorted(values)))[: draw(st.integers(0, 5))]}


@st.composite
def finished_trials(draw: st.DrawFn, number: int = 0) -> FrozenTrial:
    chosen = draw(params())
    state = draw(st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]))
    value = draw(st.floats(allow_nan=False))
    return FrozenTrial(
        number=number,
        state=state,
        value=None,
        values=[value] if state == TrialState.COMPLETE or (state == TrialState.PRUNED and value > 0) else None,
        datetime_start=draw(MOMENTS),
        datetime_complete=draw(MOMENTS),
        params=chosen,
        distributions={name: KINDS[name] for name in chosen},
        user_attrs=draw(ATTRIBUTES),
        system_attrs=draw(ATTRIBUTES),
        intermediate_values=draw(st.dictionaries(st.integers(0, 2**31 - 1), NUMBERS, max_size=3)),
        trial_id=-1,
    )


def shown(trial: FrozenTrial) -> str:
    """All of a trial but for its database's id and the order of names; NaN is NaN, and a whole number is no float."""
    own = {name: value for name, value in vars(trial).items() if name != "_trial_id"}
    return repr([(name, _sorted(own[name])) for name in sorted(own)])


def _sorted(value: Any) -> Any:
    return sorted(value.items(), key=lambda item: str(item[0])) if isinstance(value, dict) else value
