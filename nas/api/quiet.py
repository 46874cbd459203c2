"""Optuna without its messages."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's progress messages off standard error while the context is open."""
    from nas.studies import opening

    logger = logging.getLogger("optuna")
    before = logger.level
    opening.quiet_optuna()
    try:
        yield
    finally:
        logger.setLevel(before)
