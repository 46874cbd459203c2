"""The GPU benchmark: at tiny sizes on the CPU, its time limits and processes, and the page of its results."""

import argparse
import importlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu
import gpu_report
import numpy as np
import pytest
from gpu_parts.plan import PARTS, SMOKE_PARTS, Part, find_parts
from gpu_parts.results import Results, read_results

from tests.device.processes import eventually

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--device", "cpu", "--smoke")
# What a CPU cannot do.
ELSEWHERE = {"self-check/tf32", "latency/table", "latency/check"}


def _folder_of_images(folder: Path, side: int, classes: int) -> str:
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(classes):
        place = folder / f"class{label}"
        place.mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 120, (side, side, 3)) + 12 * label
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
    return str(folder)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `scripts/gpu-bundle` makes it, with a few made-up images and accuracies."""
    from packed_images import pack

    folder, made = tmp_path_factory.mktemp("bundle"), tmp_path_factory.mktemp("images")
    pack(_folder_of_images(made / "small", 16, 10), folder / "cifar10.npz")
    pack(_folder_of_images(made / "large", 40, 2), folder / "hand_digits.npz")
    # Searches look up any network of the space, so the table has a row for each.
    digits = ("".join(map(str, each)) for each in np.ndindex(*(3,) * 8))
    rows = [f"{text},{40 + sum(map(int, text)) * 3}.5" for text in digits]
    (folder / "nasbench_macro.csv").write_text("\n".join(["arch,acc_mean", *rows]) + "\n")
    return folder


def _run(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*COMMAND, "--out", str(out), *options), capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # it computes for one to three minutes, and others may compute beside it
def test_every_part_runs_at_a_tiny_size_and_is_not_repeated(bundle: Path, tmp_path: Path) -> None:
    smoke = ("--data", str(bundle), "--minutes", "30")
    done = _run(tmp_path, *smoke)
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_results(tmp_path)
    everything = {f"{part.name}/{item}" for part in SMOKE_PARTS for item in part.items}
    assert set(results.items) == everything
    assert {key for key, item in results.items.items() if "values" not in item} == ELSEWHERE
    failed = [key for key, item in results.items.items() if not item.get("values", {}).get("passed", True)]
    assert not failed
    for item in results.items.values():
        assert item["seed"] == 0
        assert item["on"]["torch"]
        assert item["smoke"] is True

    begun = {key: item["begun"] for key, item in results.items.items() if "values" in item}
    again = _run(tmp_path, *smoke)
    assert again.returncode == 0
    later = read_results(tmp_path).items
    assert {key: later[key]["begun"] for key in begun} == begun

    page = gpu_report.page(results)
    assert "the figures mean nothing" in page
    assert page.count("passed") == len([key for key in everything - ELSEWHERE if key.startswith("self-check")])
    assert f"| tf32 | {gpu_report.MISSING} |" in page
    # Complete measurements are never mixed with tiny ones.
    mixed = subprocess.run([*COMMAND[:-1], "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert mixed.returncode == 1
    assert "holds results of a smoke run" in mixed.stderr


@pytest.mark.slow
def test_a_killed_benchmark_takes_its_processes_along_and_continues(bundle: Path, tmp_path: Path) -> None:
    options = ("--data", str(bundle), "--only", "proxy")
    with subprocess.Popen([*COMMAND, "--out", str(tmp_path), *options], stdout=subprocess.DEVNULL) as process:
        eventually(lambda: len(read_results(tmp_path).items) >= 1)
        process.kill()
    # The process of the part ends with its parent, so that nothing more is written.
    eventually(lambda: not _processes_of(tmp_path))
    kept = read_results(tmp_path).items
    done = _run(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path).items
    assert len(results) == len(find_parts(["proxy"], smoke=True)[0].items)
    assert {key: results[key] for key in kept} == kept


def _processes_of(out: Path) -> list[int]:
    """Return the processes that were started with a folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(out) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_without_data_each_part_says_what_it_needs(tmp_path: Path) -> None:
    done = _run(tmp_path, "--only", "search", "--only", "supernet")
    assert done.returncode == 0, done.stderr
    needs = {item["needs"] for item in read_results(tmp_path).items.values()}
    assert needs == {"--data with the folder that scripts/gpu-bundle makes"}
    assert "Missing here: --data" in done.stdout


def test_the_list_names_every_part_with_its_time(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND[:2], "--list", "--out", str(tmp_path)], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["part", *(part.name for part in PARTS), "total"]
    assert "0 of 100" in done.stdout


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_item_of_the_plan_has_a_function(part: Part) -> None:
    items = importlib.import_module(part.module).ITEMS
    assert set(items) == set(part.items)
    assert all(seconds > 0 for seconds in part.items.values())


def test_a_smoke_run_begins_every_item_and_stops_none_on_a_machine_of_any_speed(
    faked: Callable[..., "Fake"], options: argparse.Namespace
) -> None:
    fake = faked(seconds=60.0)  # 5 to 60 times as long as on two CPU cores
    items = [item for part in SMOKE_PARTS for item in part.items]
    gpu.run(SMOKE_PARTS, options, fake.now + 60.0 * (len(items) + 1))
    assert fake.begun == items


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_a_time_limit_must_be_a_number_above_0(text: str, tmp_path: Path) -> None:
    done = _run(tmp_path / "out", "--minutes", text)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    done = _run(tmp_path / "file", "--only", "search")
    assert done.returncode == 1
    assert done.stderr == f"The folder {tmp_path / 'file'} cannot be made: File exists. Choose another one.\n"
    assert (tmp_path / "file").read_text() == "kept"


def test_the_list_makes_no_folder(tmp_path: Path) -> None:
    assert _run(tmp_path / "new", "--list").returncode == 0
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2, "items": {}, "current": ""}', "\x00"])
def test_a_foreign_file_of_results_is_reported_and_kept(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content)
    done = _run(tmp_path, "--list")
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "results.json").read_text() == content


class Fake:
    """Stands in for the processes of the parts: it does one item after another, and takes time from a clock."""

    def __init__(self, out: Path, ends: dict[str, int] | None = None, seconds: float = 1.0) -> None:
        self.out, self.ends, self.seconds = out, dict(ends or {}), seconds
        self.now = 1000.0
        self.begun: list[str] = []

    def time(self) -> float:
        return self.now

    def work(self, part: Part, _options: argparse.Namespace, until: float, tried: set[str]) -> int | None:
        results = read_results(self.out)
        for name in results.missing(part):
            if name in tried or (not part.continues and self.now + part.items[name] > until):
                continue
            if self.now + self.seconds > until:
                self.now = until
                return None
            self.now += self.seconds
            self.begun.append(name)
            with results.working_on(part.name, name):
                if name in self.ends:
                    return self.ends[name]
            results.put(part.name, name, {"values": {}, "smoke": True, "begun": str(self.now), "seconds": 1.0})
        return 0


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(out=tmp_path, smoke=True)


@pytest.fixture
def faked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    def make(**given: Any) -> Fake:
        fake = Fake(tmp_path, **given)
        monkeypatch.setattr(gpu, "work", fake.work)
        monkeypatch.setattr(gpu, "time", fake)
        return fake

    return make


def _part(name: str, items: int, box_s: float, *, continues: bool = False) -> Part:
    return Part(name, name, {f"{name}{i}": 1.0 for i in range(items)}, box_s, continues)


def test_what_is_not_there_is_needed_and_no_failure(tmp_path: Path) -> None:
    from gpu_parts.bench import SMOKE, Bench, NeedsError
    from gpu_parts.process import one

    def raising(error: Exception) -> Callable[[object], dict[str, Any]]:
        def item(_bench: object) -> dict[str, Any]:
            raise error

        return item

    bench = Bench(tmp_path, None, "cpu", SMOKE)
    assert one(raising(NeedsError("a GPU")), bench)["needs"] == "a GPU"
    assert one(raising(ModuleNotFoundError("No module named 'scipy'", name="scipy")), bench)["needs"] == (
        "the package scipy"
    )
    assert one(raising(RuntimeError("no kernel")), bench)["error"] == "RuntimeError: no kernel"


def test_a_process_that_crashes_costs_one_item(faked: Callable[..., Fake], options: argparse.Namespace) -> None:
    fake = faked(ends={"a1": -signal.SIGSEGV})
    gpu.run([_part("a", 3, 500)], options, fake.now + 500)
    results = read_results(options.out).items
    assert results["a/a1"]["error"] == "its process ended with signal 11"
    assert "values" in results["a/a0"]
    assert "values" in results["a/a2"]
    # The same command tries it again.
    fake.ends.clear()
    fake.begun.clear()
    gpu.run([_part("a", 3, 500)], options, fake.now + 500)
    assert fake.begun == ["a1"]
    assert "values" in read_results(options.out).items["a/a1"]


def test_a_long_part_leaves_time_to_those_behind_it_and_then_goes_on(
    faked: Callable[..., Fake], options: argparse.Namespace
) -> None:
    fake = faked(seconds=10.0)
    start = fake.now
    gpu.run([_part("a", 20, 50), _part("b", 2, 50)], options, start + 400)
    first = fake.begun.index("b0")
    assert 0 < first < 20
    assert fake.begun[first : first + 2] == ["b0", "b1"]
    assert sorted(fake.begun) == sorted({*fake.begun})
    assert len(fake.begun) == 22
    assert fake.now <= start + 400


def test_nothing_is_begun_that_cannot_end_in_time(faked: Callable[..., Fake], options: argparse.Namespace) -> None:
    fake = faked(seconds=10.0)
    gpu.run([_part("a", 100, 500)], options, fake.now + 100)
    assert fake.now <= 1100
    assert 0 < len(fake.begun) <= 10


def test_the_page_without_results_shows_no_figure() -> None:
    page = gpu_report.page(Results(Path("nowhere")))
    assert page.count(f"**{gpu_report.MISSING.capitalize()}.**") == len(PARTS)
    for part in PARTS:
        assert f"## {part.title}" in page


def test_the_page_shows_failures_and_what_is_needed() -> None:
    items: dict[str, Any] = {
        "self-check/fp32": {"error": "RuntimeError: no kernel"},
        "self-check/bf16": {"values": {"passed": False, "loss_difference": 0.25, "limit": 0.05}},
        "latency/table": {"needs": "a build of onnxruntime with the CUDAExecutionProvider"},
    }
    page = gpu_report.page(Results(Path("nowhere"), items))
    assert "- `fp32` failed: RuntimeError: no kernel" in page
    assert "| bf16 | **failed** | loss difference 0.25, limit 0.05 |" in page
    assert "needs a build of onnxruntime" in page


def test_random_networks_are_selected_as_the_proxy_ranks_them() -> None:
    """Where the proxy ranks as the truth does, the best of 40 of 100 is on average the one at rank 100 - 101/41."""
    items = {f"proxy/network-{i:03}": {"values": {"accuracy": i / 1000, "true": i / 100}} for i in range(100)}
    said = gpu_report._random(Results(Path("nowhere"), items))
    mean = float(said.split("accuracy of ")[1].split("%")[0])
    # The largest of n of the numbers 0 to N - 1, drawn without replacement, is n (N + 1) / (n + 1) - 1 on average.
    expected = 40 * 101 / 41 - 1
    variance = 40 * (100 - 40) * 101 / (41**2 * 42)
    assert mean == pytest.approx(expected, abs=4 * math.sqrt(variance / gpu_report.DRAWS) + 0.005)


def test_the_page_of_the_repository_is_that_of_its_results() -> None:
    folder = ROOT / "experiments" / "gpu"
    assert (folder / "README.md").read_text(encoding="utf-8") == gpu_report.page(read_results(folder))


def test_results_are_json_without_nan(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json")
    with pytest.raises(ValueError, match="Out of range"):
        results.put("a", "b", {"values": {"loss": math.nan}})
    assert not (tmp_path / "results.json").exists()
    results.items.clear()
    results.put("a", "b", {"values": {"loss": 1.0}})
    assert json.loads((tmp_path / "results.json").read_text())["items"]["a/b"]["values"] == {"loss": 1.0}
