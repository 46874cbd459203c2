"""Studies and trials as the public API returns them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.quiet import quiet_optuna
from nas.api.trials import Trial, make_trial
from nas.studies.defaults import DEFAULT_STORAGE

# pandas and the database are imported by the methods that use them.
if TYPE_CHECKING:
    import pandas as pd

    from nas.noise import ValidationSplit
    from nas.outlook import Outlook
    from nas.studies.records import Record, StudyView


@frozen(repr=False, eq=False)
class Study:
    """Represent a study as it was when it was read: a search with its trials.

    `nas.search` and `nas.open_study` return studies. In a notebook a study shows its best trials as a table.

    >>> import nas
    >>> study = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth", study="demo")
    >>> study.name, len(study.trials), study.settings["targets"]
    ('demo', 6, ['flops=100M'])
    >>> study.pareto()[-1].accuracy == max(trial.accuracy for trial in study.trials)
    True
    """

    _view: "StudyView"
    _url: str = DEFAULT_STORAGE

    @property
    def name(self) -> str:
        """Return the name of the study."""
        return self._view.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings that the study was made with, as JSON values."""
        return MappingProxyType(dict(self._view.settings))

    @property
    def storage(self) -> str:
        """Return the URL of the database without passwords."""
        from nas.studies.urls import mask

        return mask(self._url)

    @property
    def trials(self) -> list[Trial]:
        """Return all trials by number, also those that failed or still run."""
        return [self._trial(record) for record in self._view.records]

    @property
    def ranked(self) -> list[Trial]:
        """Return the complete trials, the best one first."""
        return [self._trial(record) for record in self._view.ranked]

    @property
    def best(self) -> Trial | None:
        """Return the trial that the search recommends, None if it recommends none; see `recommendation`.

        That is the complete trial with the highest expected score, of those that were re-trained if any were. If
        networks were measured after the search, it is the best one of those that meet the target. It is None if there
        is no such trial, and if no network is better than the most frequent class by more than noise; see `learned`.
        Optuna's `best_trial` is another one where a single evaluation was lucky, or where the network misses the target
        on the device.
        """
        best = self._view.best
        return None if best is None else self._trial(best)

    @property
    def recommendation(self) -> str:
        """Return the reason why `best` is recommended, or why no trial is."""
        return self._view.recommendation.reason

    @property
    def outlook(self) -> "Outlook | None":
        """Return what was still to be expected at the end of the search; None if this is not known.

        It has the `chance` that another network gains more than `gain` (0.001, which is 0.1 points of accuracy at equal
        cost), and the `expected_gain`. It is known of searches with the default sampler and another objective than
        "pareto", from 20 accuracies on, unless all networks were evaluated.
        """
        return self._view.outlook

    @property
    def split(self) -> "ValidationSplit | None":
        """Return the size and the chance rate of the validation split; None if the study does not know them."""
        return self._view.split

    @property
    def learned(self) -> bool | None:
        """Return whether any network is better than the most frequent class by more than noise; None if unknown."""
        return self._view.learned

    @property
    def not_told_apart(self) -> list[Trial]:
        """Return those of the five first trials over which the best one is not ahead by more than noise."""
        from nas.studies.comparison import not_told_apart

        return [self._trial(record) for record in not_told_apart(self._view)]

    @property
    def ahead_of_baseline(self) -> "tuple[float, float, float] | None":
        """Return by how much the best trial is ahead of the baseline: the difference and the ends of its interval.

        It is a difference of accuracies at equal score. The best trial is ahead by more than noise if the lower end is
        above 0; the ends are NaN if no error is known. It is None without a best trial or a baseline.
        """
        from nas.studies.comparison import ahead_of_baseline

        lead = ahead_of_baseline(self._view)
        return None if lead is None else (lead.value, lead.low, lead.high)

    @property
    def baseline(self) -> Trial | None:
        """Return the known network of the same cost that was evaluated in the same way; None if there is none."""
        baseline = self._view.baseline
        return None if baseline is None else self._trial(baseline)

    @property
    def accuracy_label(self) -> str:
        """Return a name for what `Trial.accuracy` holds: it is another one than "accuracy" for a zero-cost score."""
        return self._view.accuracy_label

    @property
    def counted_trials(self) -> int:
        """Return the number of trials that count: complete, pruned and failed ones."""
        return self._view.counted

    def pareto(self) -> list[Trial]:
        """Return the Pareto front of accuracy and the cost of the first target, by increasing cost."""
        return [self._trial(record) for record in self._view.front]

    def trials_dataframe(self) -> "pd.DataFrame":
        """Return a table with one row for each trial by number, and a last row for the baseline.

        The columns are `trial` (missing for the baseline), `state` ("baseline" for it), `accuracy` (0 to 1), `macs`
        (multiply-adds for one image), `params`, `peak_bytes`, `size_bytes`, `latency_ms`, `measured_ms`, `meets`
        (whether that is within the target), `score`, `seconds`, `seed`, `front` (whether it is on the Pareto front),
        `arch` (text form), `label` (name of the baseline), `evaluations` (number of seeds), `accuracy_mean` (over
        them), `accuracy_low` and `accuracy_high` (its 95% interval), `latency_spread_ms` and `measured_spread_ms`
        (standard deviations) and `recommended`. A cost of your own with the name `energy` has the columns `energy`,
        `energy_spread`, `energy_measured` and `energy_measured_spread`. Missing values are `pandas.NA`.
        """
        from nas.report.frame import trial_frame

        return trial_frame(self._view)

    def trainings(self) -> list[Mapping[str, Any]]:
        """Return the full training runs of networks of this study that `nas.train` has finished, by trial.

        Each has the number of its `trial`, the `folder` of its weights, its `curve` (the values of each epoch), its
        `best_epoch`, and its accuracies with their intervals under `validation` and `test`.

        Raises:
            StudyError: The study or its database is gone.
        """
        from nas.studies.opening import open_storage
        from nas.studies.trainings import read_trainings

        with quiet_optuna():
            opened = open_storage(self._url, create=False)
            return [MappingProxyType(dict(one)) for one in read_trainings(opened, self.name)]

    def refresh(self) -> "Study":
        """Return the study as it is stored now; this object does not change.

        Raises:
            StudyError: The study or its database is gone.
        """
        return open_study(self.name, storage=self._url)

    def __repr__(self) -> str:
        from nas.api.study_table import format_study

        return format_study(self._view, self._url)

    def _repr_html_(self) -> str:
        """Return the study as HTML, which notebooks show."""
        from nas.api.study_table import format_study_html

        return format_study_html(self._view, self._url)

    def _trial(self, record: "Record") -> Trial:
        return make_trial(self._view, record)


@check_arguments
def open_study(name: str, *, storage: str = DEFAULT_STORAGE) -> Study:
    """Read a study from its database.

    Args:
        name: Name of the study.
        storage: Optuna URL of the database.

    Returns:
        The study as it is stored now.

    Raises:
        StudyError: There is no such study or database, or it is damaged.

    >>> import nas
    >>> made = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth", study="demo")
    >>> nas.open_study("demo").best == made.best
    True
    """
    from nas.studies.opening import open_storage
    from nas.studies.study import read_study

    with quiet_optuna():
        return Study(read_study(open_storage(storage, create=False), name), storage)


@check_arguments
def study_names(*, storage: str = DEFAULT_STORAGE) -> list[str]:
    """List the studies of a database that this package made, oldest first.

    Args:
        storage: Optuna URL of the database.

    Returns:
        The names of the studies.

    Raises:
        StudyError: There is no such database, or it is damaged.

    >>> import nas
    >>> _ = nas.search("mnasnet", target="flops=100M", trials=6, evaluator="zero-cost:depth", study="demo")
    >>> nas.study_names()
    ['demo']
    """
    from nas.studies import study
    from nas.studies.opening import open_storage

    with quiet_optuna():
        return list(study.study_names(open_storage(storage, create=False)))
