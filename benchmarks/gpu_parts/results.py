"""The file of all results of the GPU benchmark; it is written anew after every item."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_parts.plan import Part

FILE = "results.json"
FORMAT = 1


@dataclass
class Results:
    """Hold the results.

    Attributes:
        path: Path of the file.
        items: Results by part and item, "PART/ITEM". Each has `values`, or `error` if it failed, or `needs` if
            something is not there that it needs; and the environment, seed and duration.
        current: Item that a process works on now; it tells what a process that ended abnormally was doing.
    """

    path: Path
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: str = ""

    def is_done(self, part: Part, item: str) -> bool:
        """Return whether an item has values."""
        return "values" in self.items.get(f"{part.name}/{item}", {})

    def missing(self, part: Part) -> list[str]:
        """Return the items of a part that have no values; those that were tried in vain come last."""
        left = [item for item in part.items if not self.is_done(part, item)]
        return sorted(left, key=lambda item: f"{part.name}/{item}" in self.items)

    def values(self, part: str, item: str) -> Mapping[str, Any] | None:
        """Return the values of an item, or None."""
        found: Mapping[str, Any] | None = self.items.get(f"{part}/{item}", {}).get("values")
        return found

    def put(self, part: str, item: str, result: Mapping[str, Any]) -> None:
        """Keep the result of an item, and write the file."""
        self.items[f"{part}/{item}"] = dict(result)
        self.current = ""
        self.write()

    @contextmanager
    def working_on(self, part: str, item: str) -> Iterator[None]:
        """Write which item is worked on."""
        self.current = f"{part}/{item}"
        self.write()
        yield

    def write(self) -> None:
        """Write the file atomically."""
        text = json.dumps({"format": FORMAT, "current": self.current, "items": self.items}, indent=1, allow_nan=False)
        temporary = self.path.with_name(f".{self.path.name}.new")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def read_results(folder: Path) -> Results:
    """Return the results in a folder; there are none if the folder has no file.

    Raises:
        SystemExit: The file is not one of results.
    """
    path = folder / FILE
    if not path.exists():
        return Results(path)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != FORMAT:
            raise ValueError(f"its format is {stored['format']}, and this version reads format {FORMAT}")
        return Results(path, dict(stored["items"]), str(stored["current"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} cannot be read: {error}. Choose another folder, or move the file away.") from None
