"""URLs of storages as they may be shown, since no message, study or file holds a password; and their schemes."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

_SECRET = re.compile("pass|pwd|pw$|secret|token|auth|cred|api_?key|odbc_connect", re.IGNORECASE)
# Database systems by the schemes that users write, each with a form that works and what installs its driver.
_POSTGRESQL = ("postgresql+psycopg://USER:PASSWORD@HOST/DATABASE", "pip install 'hwnas[postgresql]'")
_MYSQL = ("mysql+pymysql://USER:PASSWORD@HOST/DATABASE", "pip install pymysql")
_SQLITE = ("sqlite:///FILE", "")
_SYSTEMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("postgresql", "postgres", "pgsql", "psql", "pg"), _POSTGRESQL),
        **dict.fromkeys(("mysql", "mariadb"), _MYSQL),
        **dict.fromkeys(("sqlite", "sqlite3", "file"), _SQLITE),
    }
)


def mask(url: str) -> str:
    """Return the URL of a storage with its passwords hidden, for messages."""
    known = read_url(url)
    if known is None or is_ambiguous(url):
        return "(no URL)"
    query = {key: "hidden" if _is_secret(key, value) else value for key, value in known.query.items()}
    if known.password is None and query == known.query:
        return url
    return known.set(query=query).render_as_string(hide_password=True)


def is_ambiguous(url: str) -> bool:
    """Return whether a part of the password could be taken for something else: an @ in it was not written as %40.

    A password may hold the characters that end a host or a path too, so every @ of the URL counts, wherever it is.
    """
    scheme, _, rest = url.partition("://")
    known = read_url(url)
    if known is None or "@" not in rest or (scheme.startswith("sqlite") and rest.startswith("/")):
        return False
    return rest.count("@") > 1 or known.username is None


def is_in_memory(url: str) -> bool:
    """Return whether a storage is a SQLite database in the memory of this process."""
    known = read_url(url)
    if known is None or known.get_backend_name() != "sqlite":
        return False
    name = (known.database or "").removeprefix("file:")
    return name in ("", ":memory:") or known.query.get("mode") == "memory"


def scheme_remedy(url: str) -> str:
    """Return what to write instead of a URL whose scheme is unknown or whose driver is not installed."""
    system = _SYSTEMS.get(url.partition("://")[0].partition("+")[0].lower())
    systems = (_SQLITE, _POSTGRESQL, _MYSQL) if system is None else (system,)
    forms = [f"{form} (`{driver}` installs its driver)" if driver else form for form, driver in systems]
    return f"write {', or '.join(forms)}"


def without_password(url: str) -> str:
    """Return the URL of a storage without its passwords, for commands that read them from the environment or a file."""
    known = read_url(url)
    if known is None or is_ambiguous(url) or mask(url) == url:
        return mask(url)
    query = {key: value for key, value in known.query.items() if not _is_secret(key, value)}
    # `URL.set` takes None for "unchanged", so a new URL is built.
    return URL.create(
        known.drivername, known.username, None, known.host, known.port, known.database, query
    ).render_as_string(hide_password=False)


def read_url(url: str) -> URL | None:
    """Return the parts of a URL, or None if it is no URL."""
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError):  # a port that is no number
        return None


def first_line(error: BaseException, url: str) -> str:
    """Return the first line of a storage's error, or only its type where the line holds a password."""
    known = read_url(url)
    if known is None:
        return "the URL is not of the form DRIVER://USER:PASSWORD@HOST/DATABASE"
    line = (str(error).splitlines() or [""])[0]
    hides = mask(url) != url and any(secret in line for secret in _secrets(known, url))
    return type(error).__name__ if hides else line


def _secrets(known: URL, url: str) -> set[str]:
    """Return the passwords of a URL, plain and as the URL quotes them, and the whole URL."""
    hidden = [value for key, value in known.query.items() if _is_secret(key, value)]
    plain = {str(known.password or ""), *(part for value in hidden for part in _parts(value))}
    return {form for secret in plain if secret for form in (secret, quote(secret, ""), quote_plus(secret))} | {url}


def _is_secret(key: str, value: str | tuple[str, ...]) -> bool:
    """Return whether an entry of the query may hold a password, in the value of another key too: `a=1;password=x`."""
    return any(_SECRET.search(text) for text in (key, *_parts(value)))


def _parts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
