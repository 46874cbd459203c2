"""The exceptions of this package.

NasError                  base class of all errors that this package raises
├── ArchitectureError     an architecture, its text or its file breaks a rule
├── ScalingError          a scaling rule, a factor or a budget cannot be used
├── SpaceError            a search space, its file or one of its choices breaks a rule
├── TargetError           a target cannot be read, or no architecture can meet it
├── CostError             a function that gives a cost fails for all networks, or returns wildly different numbers
├── WeightsError          pretrained weights are missing, damaged, or fit no architecture
├── DataError             images, labels or a table of accuracies cannot be used
├── EvaluationError       one architecture could not be evaluated; the search continues
│   └── EvaluationLostError   the process that evaluated was ended from outside; another attempt may succeed
├── DeviceError           a device is missing, rejects a request, or is not the expected one; nothing was measured
│   └── DeviceLostError   the connection to a device, or the process on it, ended; the device may become available again
├── StudyError            a study cannot be opened, or was made with something else
└── MissingPackageError   an optional package is needed but not installed
"""


class NasError(Exception):
    """Report invalid input or a failed step in one message.

    Args:
        problem: Description of what is wrong, with the value and the rule that it breaks.
        remedy: Description of what the user can do.

    >>> print(NasError("the kernel is 4, and it must be odd", "use 3 or 5"))
    the kernel is 4, and it must be odd
      use 3 or 5
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.remedy}" if self.remedy else self.problem


class ArchitectureError(NasError):
    """Report that an architecture, its text or its file breaks a rule."""


class ScalingError(NasError):
    """Report that a scaling rule, a factor or a budget cannot be used."""


class SpaceError(NasError):
    """Report that a search space, its file or one of its choices breaks a rule."""


class TargetError(NasError):
    """Report that a target cannot be read, or that no architecture can meet it."""


class CostError(NasError):
    """Report that a function of a user that gives a cost fails for one network after another."""


class WeightsError(NasError):
    """Report that weights of a network are missing, are damaged, or do not fit an architecture."""


class DataError(NasError):
    """Report that images, labels or a table of accuracies cannot be used."""


class EvaluationError(NasError):
    """Report that one architecture could not be evaluated; the search continues without it."""


class EvaluationLostError(EvaluationError):
    """Report that the process that evaluated an architecture was ended from outside.

    Another attempt may succeed, so the trial may be started again.
    """


class DeviceError(NasError):
    """Report that a device is missing, rejects a request, or is not the expected one; nothing was measured."""


class DeviceLostError(DeviceError):
    """Report that the connection to a device, or the process on it, ended before the response arrived.

    The device may become available again, so the caller may retry.
    """


class StudyError(NasError):
    """Report that a study cannot be opened, or was made with something else."""


class MissingPackageError(NasError):
    """Report that an optional package is needed but not installed."""


MOST_CHARACTERS = 2_000


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an error that other code raised, as text that can be stored and sent.

    >>> describe_error(ValueError("the width is 3"))
    'ValueError: the width is 3'
    """
    try:
        # The method of `str`, because the text may be of a class of its own.
        text = str.encode(str(error), "utf-8", "backslashreplace").decode()
    except BaseException:
        text = "its text cannot be read"
    shown = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} …"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__
