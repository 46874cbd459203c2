"""The recommended network as a study stores it: user attributes, which any tool for Optuna shows.

Optuna's own best trial is the one with the highest single score, which is mostly a lucky evaluation. The recommended
one allows for noise and for measurements on the device.
"""

from collections.abc import Mapping
from typing import Any

import optuna

from nas.studies.records import Recommendation, StudyView
from nas.studies.validation import fits

TRIAL, REASON, AFTER = "recommended_trial", "recommended_reason", "recommended_after"


def store_recommendation(study: optuna.Study, view: StudyView) -> None:
    """Store in a study which network its present results recommend, with the accuracy, its interval and the reason."""
    chosen, known = view.recommendation, study.user_attrs
    interval = None if view.best is None else view.interval(view.best)
    attributes = {
        TRIAL: chosen.trial,
        "recommended_architecture": None if view.best is None else view.best.arch,
        "recommended_accuracy": None if interval is None else interval.value,
        "recommended_interval": None if interval is None or interval.low is None else [interval.low, interval.high],
        REASON: chosen.reason,
        AFTER: _results(view),  # the last one, so that an interrupt leaves nothing that counts
    }
    for key, value in attributes.items():
        if key not in known or known[key] != value:
            study.set_user_attr(key, value)


def read_recommendation(attributes: Mapping[str, Any], view: StudyView) -> Recommendation | None:
    """Return the stored recommendation, None where there is none for the present results.

    Args:
        attributes: User attributes of the study, which any program may have written.
        view: The study without a stored recommendation.
    """
    trial, reason = attributes.get(TRIAL), attributes.get(REASON)
    is_known = fits(trial, int | None) and trial in (None, *(record.number for record in view.complete))
    if attributes.get(AFTER) != _results(view) or not is_known or not isinstance(reason, str):
        return None
    return Recommendation(trial, reason)


def _results(view: StudyView) -> dict[str, int]:
    """Return the numbers of results on which a recommendation rests."""
    further = sum(map(len, view.confirmed.values()))
    return {"trials": view.counted, "further_evaluations": further, "measurements": len(view.measurements)}
