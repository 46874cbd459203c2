"""Repeating what was asked of a database that is away for a while, until it answers."""

import random
import re
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
MAX_WAIT_S = 300.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 2.0
MAX_CREATIONS = 10
_STARTING = r"the database system is (starting up|shutting down|in recovery mode|not (yet )?accepting connections)"


def retry_while_away(
    work: Callable[[], T],
    say: Callable[[str], None],
    check_interrupts: Callable[[], None] = lambda: None,
    max_wait_s: float = MAX_WAIT_S,
    passes: Callable[[BaseException], bool] | None = None,
) -> T:
    """Return the result of the work, which is repeated while the database is away.

    Args:
        work: Function that may be called again after it failed, even if it took effect: a connection can be lost after
            the database has committed and before it could say so.
        say: Called once with a sentence for the user when the first try has failed.
        check_interrupts: Called before every pause; may raise.
        max_wait_s: Seconds after which the last error is raised.
        passes: Whether the work may succeed after an error; None takes `is_away`.

    Raises:
        StorageInternalError: The database refuses, or was away for longer than `max_wait_s`.
        sqlalchemy.exc.SQLAlchemyError: The same, from outside Optuna.
    """
    start, pause_s = time.monotonic(), FIRST_PAUSE_S
    while True:
        try:
            return work()
        except (StorageInternalError, SQLAlchemyError) as error:
            if not (passes or is_away)(error) or time.monotonic() - start > max_wait_s:
                raise
            if pause_s == FIRST_PAUSE_S:
                say("the database does not answer; nas tries again until it does")
            check_interrupts()
            # Random pauses, so that many processes do not all return in the moment in which the database does.
            time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 -- nothing secret
            pause_s = min(MAX_PAUSE_S, 2 * pause_s)


def retry_creation(create: Callable[[], T]) -> T:
    """Return the result of a function that creates tables which other processes may be creating at the same time.

    "CREATE TABLE IF NOT EXISTS" does not help: in PostgreSQL two that run at once collide in the system catalog, and
    SQLAlchemy looks for tables before it creates them, in separate statements.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The tables cannot be created.
    """
    for _ in range(MAX_CREATIONS):
        try:
            return create()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 -- nothing secret
    # The last try raises its error.
    return create()


def is_away(error: BaseException) -> bool:
    """Return whether the same work may succeed later: the connection is lost, or other processes hold the database."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if not isinstance(cause, DBAPIError):
        return False
    if "sqlite" in type(cause.orig).__module__:
        # All other errors of SQLite, such as a full disk or a damaged file, do not end by waiting.
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)


def is_starting(error: BaseException) -> bool:
    """Return whether a PostgreSQL server accepts no connections yet, because it starts or recovers, or any more."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # libpq gives no code for a connection that fails (it would be 57P03, cannot_connect_now), only this text.
    return isinstance(cause, DBAPIError) and re.search(_STARTING, str(cause.orig)) is not None
