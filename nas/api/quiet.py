"""Optuna without its messages."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's progress messages off standard error while the context is open.

    Its warnings take the way of all others: Optuna's own handler would write into a live line of progress, because it
    keeps the standard error of the moment in which Optuna was imported.
    """
    from nas.studies import opening

    logger = logging.getLogger("optuna")
    before = logger.level, logger.propagate, logger.handlers[:]
    opening.quiet_optuna()
    logger.propagate, logger.handlers[:] = True, []
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate, logger.handlers[:] = before[1:]
