"""New SQLite databases, which appear with their tables and never as an empty file.

SQLite makes an empty file first, and other processes that start at the same moment would take it for a database that
was emptied by a crash.
"""

from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from nas.studies.journal_files import move_to_new


def make_database(url: str, file: Path) -> None:
    """Make a SQLite database with Optuna's tables, unless another process is faster.

    Args:
        url: URL of the database. SQLite itself has to make a database whose URL holds a URI.
        file: Its file, which does not exist.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: SQLite cannot write the file.
        OSError: The file cannot get its name.
    """
    whole = make_url(url)
    if (whole.database or "").startswith("file:"):
        return
    temporary = file.with_name(f".{file.name}.{uuid4().hex}.new")
    try:
        storage = RDBStorage(whole.set(database=str(temporary)).render_as_string(hide_password=False))
        storage.remove_session()
        storage.engine.dispose()
        with suppress(FileExistsError):
            move_to_new(temporary, file)
    finally:
        with suppress(OSError):
            temporary.unlink()
