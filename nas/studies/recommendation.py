"""The recommended network as a study stores it: user attributes, which any tool for Optuna shows.

Optuna's own best trial is the one with the highest single score, which is mostly a lucky evaluation. The recommended
one allows for noise and for measurements on the device. Views of nas do not read these attributes: the recommendation
follows from the trials, which other processes may have added to since.
"""

import optuna

from nas.studies.records import StudyView


def store_recommendation(study: optuna.Study, view: StudyView) -> None:
    """Store in a study which network its present results recommend, with the accuracy, its interval and the reason."""
    chosen, known = view.recommendation, study.user_attrs
    interval = None if view.best is None else view.interval(view.best)
    attributes = {
        "recommended_trial": chosen.trial,
        "recommended_architecture": None if view.best is None else view.best.arch,
        "recommended_accuracy": None if interval is None else interval.value,
        "recommended_interval": None if interval is None or interval.low is None else [interval.low, interval.high],
        "recommended_reason": chosen.reason,
    }
    for key, value in attributes.items():
        if key not in known or known[key] != value:
            study.set_user_attr(key, value)
