"""URLs of storages: no part of a password is shown, and a URL that cannot be opened is explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import StudyError
from nas.studies.early_check import check_storage
from nas.studies.failures import refusal
from nas.studies.journal_files import database_file
from nas.studies.opening import open_storage
from nas.studies.urls import is_ambiguous, is_in_memory, mask, scheme_remedy, without_password

SECRET = "goes9there"  # noqa: S105 -- a made-up one
PIECES = st.lists(st.sampled_from(["@", "?", "/", "#", ":", "&", "=", "%40", "%", ";", " ", "a", SECRET]), max_size=8)
SERVERS = ("postgresql", "postgresql+psycopg", "mysql+pymysql", "mariadb", "unknown", "sqlite+pysqlcipher")
ENDS = ("@127.0.0.1:5999/nas", "@[::1]/nas", "@/nas?host=/run", "@host", "@host/nas?sslmode=require", "")


@given(st.sampled_from(SERVERS), st.sampled_from(["nas", "", "me/too"]), PIECES, PIECES, st.sampled_from(ENDS))
def test_no_part_of_a_password_is_shown(scheme: str, user: str, before: list[str], after: list[str], end: str) -> None:
    password = "".join([*before, SECRET, *after])
    url = f"{scheme}://{user}:{password}{end}"
    if not end and "@" not in password:
        return  # a host with a port, a path and a query: nothing in it is a password
    shown = [mask(url), without_password(url), str(refusal(ValueError(url), url, "cannot be opened", ""))]
    if is_ambiguous(url):
        with pytest.raises(StudyError, match="unclear where the password ends") as error:
            open_storage(url)
        shown.append(str(error.value))
    assert SECRET not in "".join(shown)


@given(st.sampled_from(["password", "PWD", "sslpassword", "pw", "x;password", "options=-c password"]), PIECES)
def test_no_password_of_a_query_is_shown(key: str, pieces: list[str]) -> None:
    value = "".join(piece for piece in pieces if piece not in ("&", "@"))
    url = f"postgresql+psycopg://nas@host/nas?a=1;b=2&{key}={value}{SECRET}"
    assert SECRET not in mask(url) + without_password(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://nas:wh?o@goes9there@127.0.0.1:5999/nas",
        "mysql+pymysql://nas:?a@goes9there@127.0.0.1/nas",
        "postgresql://nas:a#b@goes9there@h/nas",
        "postgresql:///nas:goes9there@h/nas",
        "postgresql://a/b:goes9there@h/nas",
        "sqlite+pysqlcipher://:a@goes9there@/nas.db",
    ],
)
def test_an_at_sign_of_a_password_must_be_quoted(url: str) -> None:
    for check in (open_storage, check_storage):
        with pytest.raises(StudyError, match="more than one @, or a misplaced one") as error:
            check(url)
        assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///a@b@c.db", "sqlite:////tmp/@/@.db", "postgresql://u:p%40w@h/d", "sqlite://"]
)
def test_an_at_sign_elsewhere_is_no_harm(url: str) -> None:
    assert not is_ambiguous(url)


@pytest.mark.parametrize(
    ("url", "form", "driver"),
    [
        ("postgres://u:pw@h/d", "postgresql+psycopg://USER", "hwnas[postgresql]"),
        ("postgresql+psycopg2://u:pw@h/d", "postgresql+psycopg://USER", "hwnas[postgresql]"),
        ("mysql://u:pw@h/d", "mysql+pymysql://USER", "pip install pymysql"),
        ("mariadb://u:pw@h/d", "mysql+pymysql://USER", "pip install pymysql"),
        ("sqlite3:///nas.db", "sqlite:///FILE", ""),
        ("redis://u:pw@h/0", "postgresql+psycopg://USER", "pip install pymysql"),
    ],
)
def test_an_unknown_scheme_is_answered_with_one_that_works(url: str, form: str, driver: str) -> None:
    assert form in scheme_remedy(url)
    with pytest.raises(StudyError, match="its scheme is unknown, or the driver") as error:
        open_storage(url)
    assert form in error.value.remedy
    assert driver in error.value.remedy
    assert "pw@" not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_known_as_one(url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert is_in_memory(url)
    assert database_file(url) is None
    with pytest.raises(StudyError, match="in the memory of one process"):
        open_storage(url, create=False)
    open_storage(url)
    assert "nothing is kept when this process ends" in caplog.text
    assert is_in_memory("sqlite:///file:a?mode=memory&uri=true")
    assert not is_in_memory("sqlite:///nas.db")
    assert not is_in_memory("postgresql://u:pw@h/d")
