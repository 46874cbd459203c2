"""The trials that a sampler suggests, as a source of trials for the trial loop."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from attrs import define, field
from optuna.trial import FrozenTrial

from nas.outlook import Outlook
from nas.samplers.filtered import FilteredSampler
from nas.samplers.history import has_choices
from nas.search.events import Tell
from nas.search.recorder import TrialRecorder
from nas.search.trials import Running
from nas.studies.records import KILLED


@define(eq=False)
class SuggestedTrials:
    """A sampler as a source of trials; see `TrialSource`.

    Attributes:
        sampler: The sampler.
        recorder: Makes trials of its suggestions.
        undisturbed: Context in which the sampler may measure latencies and be interrupted.
        tell: Reports when no new architecture is found.
    """

    sampler: FilteredSampler
    recorder: TrialRecorder
    undisturbed: Callable[[], AbstractContextManager[None]]
    tell: Tell
    _is_exhausted: bool = field(default=False, init=False)

    def next(self, number: int) -> Running | None:
        """See `TrialSource`; once no new architecture was found, none is looked for again."""
        if self._is_exhausted:
            return None
        with self.undisturbed():
            proposal = self.sampler.suggest(number)
        if proposal is None:
            self._is_exhausted = True
            self.tell("exhausted", message="no new architecture was found in the cost range")
            return None
        return self.recorder.begin(proposal)

    def outlook(self) -> Outlook | None:
        """Return what is still to be expected of the search; None if the sampler cannot say it."""
        with self.undisturbed():
            return self.sampler.outlook()

    def learn(self, trials: Iterable[FrozenTrial]) -> None:
        """See `TrialSource`; architectures of killed trials are evaluated again by their reservations."""
        space, known = self.sampler.cost_range.space, []
        for trial in trials:
            if KILLED in trial.user_attrs:
                self.sampler.forget(trial)
            elif has_choices(space, trial):
                known.append(trial)
        # Not from the stored text, which another program may have changed.
        own = [{choice.name: trial.params[choice.name] for choice in space.choices} for trial in known]
        self.sampler.learn(known, [space.architecture(params) for params in own])

    def avoid(self, running: Running) -> None:
        """See `TrialSource`."""
        self.sampler.avoid(running.arch)
