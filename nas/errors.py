"""What can go wrong, as one tree.

NasError                  anything this package raises on purpose
├── ArchitectureError     an architecture, its text or its file breaks a rule
├── ScalingError          a rule, a factor or a budget cannot be followed
├── SpaceError            a search space, its file or a choice in it breaks a rule
├── TargetError           a target cannot be read, or no architecture can meet it
├── DataError             images, labels or a table of accuracies cannot be used
├── EvaluationError       one architecture could not be scored; the search goes on
├── DeviceError           a device is absent, refuses, or is not the one meant; nothing was timed
│   └── DeviceLostError   the connection to a device, or what answered there, ended; it may come back
├── StudyError            a study cannot be opened, or belongs to something else
└── MissingPackageError   an optional package is needed and absent
"""


class NasError(Exception):
    """Bad input or a failed step, told in one message.

    Args:
        problem: the rule that was broken and the value that broke it.
        remedy: what the user can do about it.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem


class ArchitectureError(NasError):
    """An architecture, its text or its file breaks a rule."""


class ScalingError(NasError):
    """A rule of scaling, a factor or a budget cannot be followed."""


class SpaceError(NasError):
    """A search space, its file or a choice in it breaks a rule."""


class TargetError(NasError):
    """A target cannot be read, or no architecture can meet it."""


class DataError(NasError):
    """Images, labels or a table of accuracies cannot be used."""


class EvaluationError(NasError):
    """One architecture could not be scored; the search goes on without it."""


class DeviceError(NasError):
    """A device is absent, refuses, or is not the one that was meant; nothing was timed."""


class DeviceLostError(DeviceError):
    """The connection to a device, or what answered there, ended before the answer came; it may come back."""


class StudyError(NasError):
    """A study cannot be opened, or belongs to something else."""


class MissingPackageError(NasError):
    """An optional package is needed and absent."""
