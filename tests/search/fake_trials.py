"""Trials of all states, with values, parameters and attributes of all kinds."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

BEGUN, ENDED = datetime(2026, 1, 2, 3, 4, 5, 678901), datetime(2026, 1, 2, 3, 4, 6)
KINDS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "step": FloatDistribution(0, 1, step=0.25),
    "width": IntDistribution(8, 64, step=8),
    "operator": CategoricalDistribution(("conv", "mbconv e3", None, True, 1.5)),
}
PARAMS: dict[str, Any] = {"rate": 0.003, "step": 0.75, "width": 24, "operator": None}
ATTRS: dict[str, Any] = {
    "arch": "net\nstem conv k3",
    "schlüssel ✓": {"名": [1, 2.5, None, True, "ß"], "nested": {"a": {}}},
    "empty": [],
    "large": "x" * 5000,
    "accuracy_by_epoch": [0.1, 0.30000000000000004],
    "nan": math.nan,
}


def template(state: TrialState, values: Sequence[float] | None = None, **given: Any) -> FrozenTrial:
    rest: dict[str, Any] = {"params": PARAMS, "distributions": KINDS, "user_attrs": ATTRS} | given
    if state == TrialState.PRUNED and values:
        rest["intermediate_values"] = {1: values[0]}
    trial = create_trial(state=state, values=values, **rest)
    trial.datetime_start = BEGUN
    trial.datetime_complete = ENDED if state.is_finished() else None
    return trial


STEPS = {0: 0.5, 1: math.nan, 2: math.inf, 7: -math.inf, 100: 1e-300}
TEMPLATES = {
    "running": template(TrialState.RUNNING),
    "running without anything": template(
        TrialState.RUNNING, params={}, distributions={}, user_attrs={}, system_attrs={}
    ),
    "complete": template(TrialState.COMPLETE, [0.1 + 0.2]),
    "failed": template(TrialState.FAIL, user_attrs={"reason": "Grund: Gerät fehlt"}),
    "pruned": template(TrialState.PRUNED, [0.25]),
    "infinite": template(TrialState.COMPLETE, [math.inf]),
    "minus infinite": template(TrialState.COMPLETE, [-math.inf]),
    "epochs": template(TrialState.COMPLETE, [0.0], intermediate_values=STEPS),
    "remembered": template(TrialState.COMPLETE, [1.0], system_attrs={"nsga2:generation": 3, "nsga2:parents": [1, 2]}),
}
SEVERAL = {
    "several": template(TrialState.COMPLETE, [0.75, 3.5e8]),
    "several infinite": template(TrialState.COMPLETE, [-math.inf, math.inf]),
    "failed": template(TrialState.FAIL),
}
