"""A database that goes away for a while: what was asked of it is asked again until it is back."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

T = TypeVar("T")
LONGEST_S = 300.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
TRIES = 10


def patiently(
    work: Callable[[], T],
    say: Callable[[str], None],
    check_interrupts: Callable[[], None],
    longest_s: float = LONGEST_S,
) -> T:
    """What the work gives; while the database is away it is tried again.

    Args:
        work: can be done twice.
        say: is told once, in a sentence.
        check_interrupts: called while it waits; may raise.
        longest_s: after which it is given up.

    Raises:
        StorageInternalError: the database refuses, or stays away.
        sqlalchemy.exc.SQLAlchemyError: likewise.
    """
    begun, wait_s = time.monotonic(), FIRST_WAIT_S
    while True:
        try:
            return work()
        except (StorageInternalError, SQLAlchemyError) as error:
            if not is_away(error) or time.monotonic() - begun > longest_s:
                raise
            if wait_s == FIRST_WAIT_S:
                say("the database does not answer; it is asked again until it does")
            check_interrupts()
            # Not all at the same moment, when it comes back to many.
            time.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 -- nothing secret
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)


def made_once(make: Callable[[], T]) -> T:
    """What is made, where others may be making the same tables at the same moment.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: it cannot be made.
    """
    for _ in range(TRIES):
        try:
            return make()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 -- nothing secret
    return make()


def is_away(error: BaseException) -> bool:
    """Whether it may do better later: the connection is lost, or others hold the database."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(cause, DBAPIError):
        return False
    if "sqlite" in type(cause.orig).__module__:
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)
