"""A gate before every made-up training run of a command, so that a test decides how many of them may be done.

A test that kills or interrupts a command needs to know what runs at that moment. So a training run waits at the gate
until its number is let through, for as long as the test needs, and no test depends on the speed of the machine.
"""

import os
import time
from pathlib import Path

from attrs import field, frozen

from tests.device.processes import eventually

VARIABLE = "NAS_FAKE_GATE"
WAIT_S = 600.0
ALL = 10**6


@frozen
class Gate:
    """The side of the test. All processes that are started with `environment` share one count.

    Attributes:
        folder: Folder of the files through which the processes agree.
        environment: Variables for a command whose training runs wait at this gate.
    """

    folder: Path
    environment: dict[str, str] = field(init=False)

    @environment.default
    def _named(self) -> dict[str, str]:
        self.folder.mkdir()
        (self.folder / "arrived").touch()
        self.let(0)
        return {VARIABLE: str(self.folder)}

    def let(self, number: int = ALL) -> None:
        """Let the training runs up to this number through."""
        new = self.folder / "new"
        new.write_text(str(number))
        new.replace(self.folder / "through")

    def wait_for(self, number: int) -> None:
        """Wait until so many training runs have arrived at the gate; the last ones may still be held there."""
        eventually(lambda: (self.folder / "arrived").stat().st_size >= number)


def pass_gate() -> None:
    """Wait until the gate lets this training run through, if the environment names a gate."""
    if VARIABLE not in os.environ:
        return
    folder = Path(os.environ[VARIABLE])
    with (folder / "arrived").open("ab", buffering=0) as file:
        file.write(b".")
        number = file.tell()  # bytes are appended one after the other, so no other training run has this number
    end = time.monotonic() + WAIT_S
    while int((folder / "through").read_text()) < number:
        if time.monotonic() > end:
            raise TimeoutError(f"training run {number} was not let through")
        time.sleep(0.01)
