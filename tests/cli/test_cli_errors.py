"""How errors are reported: as text, or as one line of JSON; and the name of the program in them."""

import json
import signal
from typing import Any

import pytest

from tests.cli.conftest import FAKE, Nas, Ran, hear
from tests.cli.gate import Gate

SEARCH = ("search", "--target", "flops=1.2M", "--space", "tiny.yaml", "--epochs", "1", "--study", "demo")


def error(ran: Ran, code: int) -> Any:
    """The one object of a command that printed nothing else."""
    assert (ran.code, ran.out) == (code, "")
    (line,) = ran.err.splitlines()
    whole = json.loads(line)
    assert set(whole) == {"error"}
    assert set(whole["error"]) == {"problem", "remedy", "kind"}
    return whole["error"]


def test_an_error_is_the_same_in_json_and_in_text(nas: Nas) -> None:
    told = error(nas("show", "no-such-network", "--json"), 1)
    assert told["kind"] == "ArchitectureError"
    assert nas("show", "no-such-network").err == f"nas: {told['problem']}\n  {told['remedy']}\n"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("studies",), "StudyError"),
        (("pareto", "demo"), "StudyError"),
        (("spaces", "absent.yaml"), "SpaceError"),
        (("search", "--target", "flops=1"), "TargetError"),
        (("scale", "mobilenetv2"), "ScalingError"),
        (("devices", "no-such-device"), "DeviceError"),
    ],
)
def test_the_kind_is_the_class_of_the_error(
    nas: Nas, words: tuple[str, ...], kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert error(nas.here(*words, "--json", capsys=capsys, monkeypatch=monkeypatch), 1)["kind"] == kind


@pytest.mark.parametrize(
    ("words", "problem", "help_of"),
    [
        (("serach", "--json"), "No such command 'serach'.", "nas"),
        (("--json", "show"), "No such option '--json'.", "nas"),
        (("search", "--json"), "Missing option '--target'.", "nas search"),
        (("show", "--json"), "Missing argument 'ARCH'.", "nas show"),
        (("latency", "table", "--networks", "1", "--json"), "Invalid value for '--networks'", "nas latency table"),
        (("-q", "spaces", "-v", "--json"), "--quiet and --verbose exclude each other", "nas spaces"),
    ],
)
def test_wrong_usage_is_reported_in_json_too(nas: Nas, words: tuple[str, ...], problem: str, help_of: str) -> None:
    told = error(nas(*words), 2)
    assert told["problem"].startswith(problem.rstrip("."))
    assert (told["remedy"], told["kind"]) == (f"`{help_of} --help` explains the options", "UsageError")


def test_the_error_is_the_last_line_behind_the_notes(nas: Nas) -> None:
    words = ("check", "--space", "tiny.yaml", "--evaluator", "zero-cost:macs", "--json")
    ran = nas(*words, "--truth", "zero-cost:params", "--html", "absent/check.html")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads(ran.err.splitlines()[-1])["error"]["kind"] == "NasError"


def test_letters_of_any_language_stay_readable(nas: Nas) -> None:
    ran = nas("show", "größe", "--json")
    assert "größe" in ran.err
    assert "größe" in error(ran, 1)["problem"]


def test_an_interrupted_command_says_so_in_json(nas: Nas, gate: Gate) -> None:
    process = nas.start(*SEARCH, "--trials", "40", "--json", module=FAKE, **gate.environment)
    gate.wait_for(1)
    process.send_signal(signal.SIGINT)
    hear(process, "finishing 1 trial")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert json.loads(err.splitlines()[-1]) == {
        "error": {"problem": "the command was interrupted", "remedy": "", "kind": "Interrupted"}
    }


def test_the_module_is_the_command_under_its_own_name(nas: Nas) -> None:
    name = "python -m nas"
    shown = nas("show", "no-such-network", module="nas")
    assert (shown.code, shown.err.startswith(f"{name}: 'no-such-network'")) == (1, True)
    usage = nas("show", module="nas").err
    assert usage.startswith(f"Usage: {name} show [OPTIONS] ARCH\nTry '{name} show --help' for help.\n")
    assert nas("--help", module="nas").out.startswith(f"Usage: {name} [OPTIONS] COMMAND")
    assert nas("--version", module="nas").out == nas("--version").out
    assert nas("spaces", "--json", module="nas").json == nas("spaces", "--json").json


def test_the_module_names_itself_in_the_commands_that_it_proposes(nas: Nas) -> None:
    assert nas.fake(*SEARCH, "--trials", "1").code == 0
    assert "\nnext: nas show study:demo:pareto=1\n" in nas("pareto", "demo").out
    assert "\nnext: python -m nas show study:demo:pareto=1\n" in nas("pareto", "demo", module="nas").out
