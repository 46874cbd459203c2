"""Reading of a stored trial as a record."""

from optuna.trial import FrozenTrial, TrialState

from nas.studies.records import CORRECT, KILLED, Record

# User attributes that a record is made of.
RECORDED = (
    *("accuracy_by_epoch", "arch", "costs", "cost_spreads", "reason", "remarks", "seconds", "seed"),
    *(CORRECT, KILLED),
)


def read_trial(trial: FrozenTrial) -> Record:
    """Return a trial as reports show it."""
    kept = trial.user_attrs
    accuracies = tuple(kept.get("accuracy_by_epoch", ()))
    single = trial.values is not None and len(trial.values) == 1
    return Record(
        number=trial.number,
        state=_state(trial),
        arch=kept.get("arch", ""),
        costs=kept.get("costs", {}),
        accuracy=accuracies[-1] if accuracies else None,
        accuracies=accuracies,
        score=trial.value if single else None,
        seconds=kept.get("seconds"),
        reason=kept.get("reason", ""),
        seed=kept.get("seed"),
        spreads=kept.get("cost_spreads", {}),
        metadata=kept.get("remarks", {}),
        correct=kept.get(CORRECT, ""),
        params=trial.params,
    )


def _state(trial: FrozenTrial) -> str:
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    return KILLED if KILLED in trial.user_attrs else names.get(trial.state, "running")
