"""`--quiet` and `--verbose`, before and behind the name of the command."""

import logging
import re

import pytest

from tests.cli.conftest import Nas

SEARCH = (
    "search",
    "--target",
    "flops=1.2M",
    "--space",
    "tiny.yaml",
    "--trials",
    "2",
    "--epochs",
    "1",
    "--study",
    "demo",
)
LOGGED = re.compile(r"^\d\d:\d\d:\d\d DEBUG (nas\.[\w.]+): (.+)$", re.MULTILINE)


@pytest.mark.parametrize("words", [("-q", *SEARCH), (*SEARCH, "-q"), ("--quiet", *SEARCH, "--quiet")])
def test_a_quiet_search_prints_its_result_alone(nas: Nas, words: tuple[str, ...]) -> None:
    ran = nas.fake(*words)
    assert (ran.code, ran.err) == (0, "")
    assert "best: trial" in ran.out


def test_a_search_that_is_not_quiet_prints_a_line_for_each_trial(nas: Nas) -> None:
    err = nas.fake(*SEARCH).err
    assert ("trial 0 (1/2)" in err, "trial 1 (2/2)" in err) == (True, True)


def test_a_quiet_command_still_prints_its_errors(nas: Nas) -> None:
    ran = nas("-q", "show", "no-such-network")
    ran.refused("no-such-network")
    assert ran.err.startswith("nas: ")


def test_a_quiet_command_still_prints_wrong_usage(nas: Nas) -> None:
    nas("-q", "show", "--no-such-option").refused("No such option", code=2)
    nas("show", "-q", "--classes", "none").refused("--classes", code=2)


def test_a_quiet_command_still_prints_warnings(nas: Nas) -> None:
    (nas.folder / "nas-trials").write_text("in the place of the folder of journals")
    ran = nas.fake("-q", *SEARCH)
    assert ran.code == 0
    assert re.fullmatch(r"nas: no journal can be kept in nas-trials: .+\n", ran.err)


@pytest.mark.parametrize("words", [("-v", *SEARCH), (*SEARCH, "--verbose"), ("-v", *SEARCH, "-v")])
def test_a_verbose_search_logs_each_step_once(nas: Nas, words: tuple[str, ...]) -> None:
    ran = nas.fake(*words)
    assert ran.code == 0
    logged = LOGGED.findall(ran.err)
    assert [one for one in logged if "Opened" in one[1]] == [
        ("nas.studies.opening", "Opened storage sqlite:///nas.db.")
    ]
    assert ("nas.studies.study", "Made study demo.") in logged
    reserved = [text for name, text in logged if name == "nas.studies.reservations"]
    assert reserved == [f"Reserved number {number} for trial {number}." for number in (0, 1)]
    assert ("nas.studies.study", "Continuing study demo.") in LOGGED.findall(nas.fake(*words).err)


def test_a_verbose_search_logs_its_workers(nas: Nas) -> None:
    logged = LOGGED.findall(nas.fake("-v", *SEARCH, "--workers", "2").err)
    assert any(name == "nas.workers.processes" and text.startswith("Started worker process") for name, text in logged)


def test_a_verbose_command_logs_the_device_that_it_connects_to(nas: Nas) -> None:
    pytest.importorskip("onnxruntime")
    logged = LOGGED.findall(nas("-v", "devices", "cpu").err)
    assert [name for name, text in logged if text.startswith("Connected to cpu:threads=1")] == ["nas.device.connection"]


def test_a_verbose_search_logs_its_baseline(nas: Nas) -> None:
    words = ("search", "--target", "flops=400M", "--trials", "1", "--epochs", "1")
    logged = LOGGED.findall(nas.fake(*words, "-v").err)
    (text,) = [text for name, text in logged if name == "nas.search.run"]
    assert re.fullmatch(r"Evaluated baseline [\w. -]+: accuracy 0\.\d+\.", text)


def test_passwords_are_not_logged(nas: Nas) -> None:
    ran = nas("-v", "studies", "--storage", "sqlite:///nas.db?password=secret7")
    assert "secret7" not in ran.err


@pytest.mark.parametrize("words", [("-q", "-v", "spaces"), ("-q", "spaces", "-v"), ("spaces", "--verbose", "--quiet")])
def test_quiet_and_verbose_exclude_each_other(nas: Nas, words: tuple[str, ...]) -> None:
    nas(*words).refused("--quiet and --verbose exclude each other", code=2)


def test_the_settings_of_logging_are_restored(
    nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("nas")
    before = (logger.level, list(logger.handlers))
    for word in ("-q", "-v"):
        assert nas.here(word, "spaces", capsys=capsys, monkeypatch=monkeypatch).code == 0
        assert (logger.level, logger.handlers) == before
