"""URLs of storages as they may be shown: no message, study or file holds a password."""

import re
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

_SECRET = re.compile("pass|pwd|secret|token|auth|cred|api_?key|odbc_connect", re.IGNORECASE)


def mask(url: str) -> str:
    """Return the URL of a storage with its passwords hidden, for messages."""
    known = _read_url(url)
    if known is None or is_ambiguous(url):
        return "(no URL)"
    query = {key: "hidden" if _SECRET.search(key) else value for key, value in known.query.items()}
    if known.password is None and query == known.query:
        return url
    return known.set(query=query).render_as_string(hide_password=True)


def is_ambiguous(url: str) -> bool:
    """Return whether a part of the password could be taken for the host: an @ in it was not written as %40."""
    return not url.startswith("sqlite") and url.partition("?")[0].count("@") > 1


def without_password(url: str) -> str:
    """Return the URL of a storage without its passwords, for commands that read them from the environment or a file."""
    known = _read_url(url)
    if known is None or is_ambiguous(url) or mask(url) == url:
        return mask(url)
    query = {key: value for key, value in known.query.items() if not _SECRET.search(key)}
    # `URL.set` takes None for "unchanged", so a new URL is built.
    return URL.create(
        known.drivername, known.username, None, known.host, known.port, known.database, query
    ).render_as_string(hide_password=False)


def _read_url(url: str) -> URL | None:
    try:
        return make_url(url)
    except (SQLAlchemyError, ValueError):  # a port that is no number
        return None


def first_line(error: BaseException, url: str) -> str:
    """Return the first line of a storage's error, or only its type where the line holds a password."""
    known = _read_url(url)
    if known is None:
        return "the URL is not of the form DRIVER://USER:PASSWORD@HOST/DATABASE"
    line = (str(error).splitlines() or [""])[0]
    hides = mask(url) != url and any(secret in line for secret in _secrets(known, url))
    return type(error).__name__ if hides else line


def _secrets(known: URL, url: str) -> set[str]:
    """Return the passwords of a URL, plain and as the URL quotes them, and the whole URL."""
    hidden = [value for key, value in known.query.items() if _SECRET.search(key)]
    plain = {str(known.password or ""), *(part for value in hidden for part in _parts(value))}
    return {form for secret in plain if secret for form in (secret, quote(secret, ""), quote_plus(secret))} | {url}


def _parts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
