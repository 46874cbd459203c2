"""A clock that only a test moves, in place of the module `time`."""

from attrs import define


@define
class Clock:
    """A stand-in for `time` in one module: a pause lasts no real time, and moves the clock by its length.

    Attributes:
        now: Seconds that the clock shows.
    """

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
