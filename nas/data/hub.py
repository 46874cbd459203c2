"""Data sets on the Hugging Face hub."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nas.data.source import KINDS, Source
from nas.data.splits import SPLIT_OF_WORD, with_train
from nas.errors import DataError

_TIMEOUT_S = 10.0
_NAME = re.compile(r"\w[\w.-]*/[\w.-]+(:[^/\\]+)?", re.ASCII)


def is_hub_name(source: str) -> bool:
    """Return whether a source has the form of a name on the hub, `owner/name` or `owner/name:config`.

    Example:
        >>> is_hub_name("uoft-cs/cifar100"), is_hub_name("photos"), is_hub_name("../photos")
        (True, False, False)
    """
    return _NAME.fullmatch(source) is not None


def open_hub(source: str) -> Source:
    """Load a data set of the hub, or the copy that an earlier load has left on this machine.

    Raises:
        DataError: There is no such data set, or it cannot be loaded; the hub is asked once.
    """
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        with _reachable(name):
            tables = load_dataset(name, config or None)
    except Exception as error:
        raise DataError(
            f"{source!r} is not a local file or folder, and it cannot be loaded from the Hugging Face hub: "
            f"{first_line(error)}",
            f"check the name, its configuration after a colon, and the network connection; or {KINDS}",
        ) from error
    original_names: dict[str, str] = {}
    for original in tables:
        original_names.setdefault(SPLIT_OF_WORD.get(original.lower(), original), original)
    parts = with_train({split: tables[original] for split, original in original_names.items()}, source)
    unused = [original for original in tables if not any(tables[original] is table for table in parts.values())]
    notes = (f"these splits are ignored: {', '.join(unused)}",) if unused else ()
    return Source(parts, notes=notes)


@contextlib.contextmanager
def _reachable(name: str) -> Iterator[None]:
    """Ask the hub for a data set once; while the hub cannot be reached, the library reads its own copies only.

    The library itself repeats each request for about 20 seconds, and prints every attempt.
    """
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    offline, verbosity = datasets.config.HF_HUB_OFFLINE, get_verbosity()
    set_verbosity(logging.ERROR)
    try:
        if not offline:
            datasets.config.HF_HUB_OFFLINE = not _answers(partial(HfApi().dataset_info, name, timeout=_TIMEOUT_S))
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
        set_verbosity(verbosity)


def _answers(ask: Callable[[], object]) -> bool:
    """Return whether the hub can be reached.

    Raises:
        HfHubHTTPError: It can, and refuses the request.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        ask()
    except HfHubHTTPError:
        raise
    except Exception:  # errors of the connection, of which each HTTP library has its own
        return False
    return True


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or of its cause's; the name of its class if there is none."""
    cause: Any = error.__cause__ or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
