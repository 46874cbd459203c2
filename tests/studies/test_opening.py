"""Opening of a database whose server is about to answer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import OperationalError

from nas.studies.opening import open_storage
from nas.studies.outage import is_starting
from tests.device.processes import eventually
from tests.postgresql import Server


@pytest.mark.slow
def test_a_server_that_recovers_is_waited_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.stop()
    server.start_as_standby()  # it answers nothing else until it is promoted
    words = "the database does not answer; nas tries again until it does"

    def promote() -> None:
        try:
            eventually(lambda: words in caplog.text)
        finally:
            server.promote()

    with ThreadPoolExecutor(1) as thread:
        promoted = thread.submit(promote)
        assert open_storage(server.url).get_all_studies() is not None
        promoted.result()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("connection failed: FATAL:  the database system is starting up", True),
        ("FATAL:  the database system is not yet accepting connections\nDETAIL: Consistent recovery ...", True),
        ("FATAL:  the database system is in recovery mode", True),
        ('FATAL:  password authentication failed for user "nas"', False),
        ("connection to server at 127.0.0.1, port 1 failed: Connection refused", False),
    ],
)
def test_only_a_server_that_will_answer_is_waited_for(text: str, expected: bool) -> None:
    assert is_starting(OperationalError("", {}, Exception(text))) == expected
    assert not is_starting(ValueError(text))
