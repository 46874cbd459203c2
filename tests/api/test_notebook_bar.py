"""The progress bar of a notebook: it is drawn in the output of the cell, without the widgets that rich needs."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from nas.api import notebook_bar
from nas.api.progress import SearchProgress, make_bar


class Output:
    """What IPython shows under a display id."""

    def __init__(self) -> None:
        self.drawn: list[dict[str, str]] = []

    def display(self, drawn: dict[str, str], *, raw: bool, display_id: bool) -> "Output":
        assert raw
        assert display_id
        self.drawn.append(drawn)
        return self

    def update(self, drawn: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.drawn.append(drawn)


@pytest.fixture(name="output")
def _output(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Make this process look like the kernel of a notebook, whose clock stands still."""
    output, package, module = Output(), ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = lambda: SimpleNamespace(kernel="a kernel")  # type: ignore[attr-defined]
    module.display = output.display  # type: ignore[attr-defined]
    for each in (package, module):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    monkeypatch.setattr(notebook_bar, "monotonic", lambda: 100.0)
    return output


def test_a_bar_is_drawn_and_says_where_it_is(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    bar = make_bar()
    task = bar.add_task("starting", total=None)
    with bar:
        bar.update(task, completed=3, total=8, description="3/8 · best <53.20%>")
        bar.console.print("a line")
    first, second, last = output.drawn
    assert first["text/html"].startswith("<div><progress></progress> starting")
    assert '<progress value="3" max="8"></progress> 3/8 · best &lt;53.20%&gt; · 0:00:0' in second["text/html"]
    assert last["text/plain"].startswith("3/8 · best <53.20%> · 0:00:0")
    assert capsys.readouterr() == ("a line\n", "")


def test_many_steps_are_few_drawings(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    with SearchProgress() as shown:
        for step in range(1000):
            shown.on_batch(step, 1000, 0.5)
        monkeypatch.setattr(notebook_bar, "monotonic", lambda: 100.0 + notebook_bar.PAUSE_S)
        shown.on_batch(1000, 1000, 0.5)
    texts = [drawn["text/plain"].partition(" · ")[0] for drawn in output.drawn]
    assert texts == ["starting", "step 0/1000 loss 0.500", *["step 1000/1000 loss 0.500"] * 2]


def test_other_processes_have_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))  # as some libraries load it
    for shell in (None, SimpleNamespace()):  # a program, and IPython in a terminal
        package = ModuleType("IPython")
        package.get_ipython = lambda shell=shell: shell  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", package)
        assert not isinstance(make_bar(), notebook_bar.NotebookBar)
    monkeypatch.delitem(sys.modules, "IPython")
    assert not isinstance(make_bar(), notebook_bar.NotebookBar)
