import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import nas.export.product
from nas.errors import NasError
from nas.export.hub import product_files
from nas.export.product import (
    METRICS_FILE,
    Accuracy,
    Product,
    changed_files,
    check_product_folder,
    digest_images,
    read_product,
    write_product,
)
from nas.export.product_json import format_product, parse_product
from tests.export.products import (
    accuracy,
    architecture,
    latency,
    measured_product,
    product_of,
    record,
    small_product,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LINES = st.text("abc def-é", max_size=10).map(lambda text: " ".join(text.split()))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.none() | st.dictionaries(TEXTS, PLAIN, max_size=3)


@st.composite
def accuracies(draw: st.DrawFn) -> Accuracy:
    correct = np.array(draw(st.lists(st.booleans(), min_size=1, max_size=40)))
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=len(correct), max_size=len(correct))))
    digest = draw(st.sampled_from(["", "a" * 64]))
    found = Accuracy.of(correct, labels, 3, data=draw(TEXTS), split="val", images_digest=digest)
    return draw(st.sampled_from([found, attrs.evolve(found, packed="")]))


@st.composite
def products(draw: st.DrawFn) -> Product:
    model = record(
        draw(st.from_regex("[a-z][a-z0-9._-]{0,20}", fullmatch=True).filter(lambda name: name != METRICS_FILE)),
        draw(st.binary(max_size=5)),
        form=draw(st.sampled_from(["onnx", "timm", "torch"])),
        precision=draw(st.sampled_from(["fp32", "int8"])),
        accuracy=draw(st.none() | accuracies()),
        latency=draw(st.none() | st.floats(0.01, 100).map(latency)),
        peak_bytes=draw(st.none() | st.integers(0, 2**40)),
        agreement=draw(OBJECTS),
        graph=draw(LINES),
    )
    product = product_of(architecture(), {})
    return attrs.evolve(
        product,
        name=draw(LINES),
        classes=draw(st.none() | st.tuples(TEXTS, TEXTS, TEXTS)),
        mean=draw(st.tuples(*[st.floats(-10, 10)] * 3)),
        std=draw(st.tuples(*[st.floats(1e-3, 10)] * 3)),
        batch=draw(st.none() | st.integers(1, 64)),
        preprocessing=draw(st.booleans()),
        models=(model,),
        int8=draw(OBJECTS),
        notes=tuple(draw(st.lists(TEXTS, max_size=2))),
        provenance=draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
        versions=draw(st.dictionaries(TEXTS, TEXTS, max_size=2)),
    )


@settings(max_examples=40)
@given(products())
def test_reading_is_the_exact_inverse_of_writing(product: Product) -> None:
    assert parse_product(format_product(product)) == product


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member of JSON values, as its container and its key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@settings(max_examples=100)
@given(st.data(), PLAIN)
def test_damaged_values_are_refused_or_read_and_never_crash(data: st.DataObject, junk: Any) -> None:
    values = json.loads(format_product(measured_product()[0]))
    container, key = data.draw(st.sampled_from(list(places(values))))
    if data.draw(st.booleans()) and isinstance(container, dict):
        del container[key]
    else:
        container[key] = junk
    with suppress(NasError):  # and no other error
        found = parse_product(json.dumps(values))
        assert parse_product(format_product(found)) == found


@settings(max_examples=60)
@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused_with_an_error(text: str) -> None:
    with pytest.raises(NasError):
        parse_product(text)


def changed(path: str, value: Any) -> str:
    values: Any = json.loads(format_product(measured_product()[0]))
    *way, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    target = values
    for step in way:
        target = target[step]
    target[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("format", "nas-product/2", "format is 'nas-product/2'"),
        ("models.0.file", "../model.onnx", "models[0].file"),
        ("models.0.file", "/etc/passwd", "models[0].file"),
        ("models.0.file", ".hidden", "models[0].file"),
        ("models.0.file", "metrics.json", "two files"),
        ("models.0.file", "MODEL_INT8.onnx", "two files"),
        ("models.0.sha256", "0" * 63, "SHA-256"),
        ("models.0.size_bytes", -1, "size_bytes"),
        ("models.0.latency.timing.ratio", 0, "ratio"),
        ("models.0.latency.milliseconds", 3.0, "follows from the other values"),
        ("models.0.latency.device", "cpu", "written as"),
        ("models.0.accuracy.value", 0.99, "follows from the other values"),
        ("models.0.accuracy.by_class", [[11, 10], [8, 10], [8, 10]], "by_class[0]"),
        ("models.0.accuracy.by_class", [[27, 30]], "number of classes"),
        ("models.0.accuracy.packed", "30:AAAAAA==", "does not fit"),
        ("models.0.accuracy.packed", "99999999999:AA==", "correct"),
        ("std", [0, 1, 1], "std[0]"),
        ("mean", [0.5], "for each channel"),
        ("classes", ["a"], "for each class"),
        ("resolution", 32, "another resolution"),
        ("architecture", "net", "architecture"),
        ("batch", 0, "batch"),
        ("preprocessing", 1, "preprocessing"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: Any, told: str) -> None:
    with pytest.raises(NasError, match=re.escape(told)):
        parse_product(changed(path, value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_are_finite(number: str) -> None:
    text = format_product(small_product(int8={"loss": 123456})[0]).replace("123456", number)
    with pytest.raises(NasError, match="finite"):
        parse_product(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(NasError):
        parse_product(text)
    nested = f'"int8": {{"a": {"[" * 50 + "]" * 50}}}'
    with pytest.raises(NasError, match="levels"):
        parse_product(format_product(small_product()[0]).replace('"int8": null', nested))


def test_a_product_is_written_with_all_of_its_files(tmp_path: Path) -> None:
    product, files = measured_product(classes=("left", "right\nleft", "Ünï\tcode"))
    written = write_product(product, files, tmp_path / "new" / "product")
    folder = tmp_path / "new" / "product"
    assert read_product(folder) == written
    assert written == attrs.evolve(product, files=written.files)
    expected = {"labels.txt", "metrics.json", "model.onnx", "model_card.md", "model_int8.onnx"}
    assert {path.name for path in folder.iterdir()} == expected | {"predict.py", "requirements.txt"}
    assert not changed_files(written, folder)
    # A line break in a name would shift all names after it.
    assert (folder / "labels.txt").read_text(encoding="utf-8") == "left\nright\\nleft\nÜnï\\tcode\n"
    assert (folder / "model.onnx").read_bytes() == files["model.onnx"]
    pins = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert pins.keys() == {"numpy", "onnxruntime", "pillow"}
    assert pins["numpy"] == np.__version__


def test_a_product_without_onnx_files_has_no_program(tmp_path: Path) -> None:
    product = product_of(architecture(), {}, models=(record("weights.safetensors", b"1", form="torch"),), classes=None)
    write_product(product, {"weights.safetensors": b"1"}, tmp_path / "p")
    assert {path.name for path in (tmp_path / "p").iterdir()} == {
        "labels.txt",
        "metrics.json",
        "model_card.md",
        "weights.safetensors",
    }
    assert (tmp_path / "p" / "labels.txt").read_text() == "0\n1\n2\n"


def test_records_must_fit_the_files(tmp_path: Path) -> None:
    product, files = small_product()
    with pytest.raises(NasError, match=r"model\.onnx do not fit"):
        write_product(product, {"model.onnx": b"other"}, tmp_path / "p")
    with pytest.raises(NasError, match=r"more\.onnx do not fit"):
        write_product(product, {**files, "more.onnx": b""}, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_an_unchanged_product_is_replaced(tmp_path: Path) -> None:
    write_product(*measured_product(), tmp_path)
    product, files = small_product()
    written = write_product(product, files, tmp_path)
    assert read_product(tmp_path) == written
    assert not (tmp_path / "model_int8.onnx").exists()


def foreign(folder: Path) -> None:
    (folder / "thesis.txt").write_text("years of work")


def other_metrics(folder: Path) -> None:
    (folder / METRICS_FILE).write_text('{"format": "nas-training/1"}')


def edited(folder: Path) -> None:
    with (folder / "model_card.md").open("a") as card:
        card.write("my text")


def subfolder(folder: Path) -> None:
    (folder / "notes").mkdir()


def hidden(folder: Path) -> None:
    (folder / ".git").mkdir()


@pytest.mark.parametrize("change", [foreign, other_metrics, edited, subfolder, hidden])
def test_other_content_is_refused_and_kept(tmp_path: Path, change: Callable[[Path], None]) -> None:
    write_product(*small_product(), tmp_path)
    change(tmp_path)
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(NasError) as error:
        check_product_folder(tmp_path)
    assert error.value.remedy == "give a new folder with --out, or move the other files away"
    with pytest.raises(NasError):
        write_product(*small_product(), tmp_path)
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("path", ["file", "file/below", "a\0b"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(NasError):
        check_product_folder(tmp_path / path)


def test_a_full_disk_leaves_the_earlier_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_product(*small_product(), tmp_path)
    calls = []

    def write(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise NasError("the disk is full")
        path.write_bytes(data)

    monkeypatch.setattr(nas.export.product, "write_atomically", write)
    with pytest.raises(NasError, match="full"):
        write_product(*measured_product(), tmp_path)
    assert read_product(tmp_path) == written
    assert not changed_files(written, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {METRICS_FILE, *written.digests}


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.export.products import measured_product
from nas.export.product import write_product
left = int(sys.argv[2])
def counted(call):
    def inner(*args, **keywords):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **keywords)
    return inner
Path.rename, Path.unlink, Path.replace = map(counted, (Path.rename, Path.unlink, Path.replace))
write_product(*measured_product(), Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("steps", [3, 16, 22])
def test_a_killed_process_leaves_a_folder_that_can_be_written_to_again(tmp_path: Path, steps: int) -> None:
    write_product(*small_product(), tmp_path)
    program = [sys.executable, "-c", KILLED, str(tmp_path), str(steps)]
    ended = subprocess.run(program, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    written = write_product(*measured_product(), tmp_path)
    assert read_product(tmp_path) == written
    assert not changed_files(written, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {METRICS_FILE, *written.digests}


def test_files_that_are_missing_changed_or_links_are_found(tmp_path: Path) -> None:
    written = write_product(*measured_product(), tmp_path)
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "predict.py").write_text("other")
    (tmp_path / "model.onnx").rename(tmp_path / "moved.onnx")
    (tmp_path / "model.onnx").symlink_to("moved.onnx")
    assert changed_files(written, tmp_path).keys() == {"labels.txt", "predict.py", "model.onnx"}
    assert "link" in changed_files(written, tmp_path)["model.onnx"]


def test_metrics_that_are_a_link_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"password": "hunter2"}')
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / METRICS_FILE).symlink_to(secret)
    with pytest.raises(NasError) as error:
        read_product(folder)
    assert "link" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "\ufeff{}", '"nas-product/1"'])
def test_a_folder_without_a_product_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / METRICS_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(NasError, match=r"metrics\.json"):
        read_product(tmp_path)


def test_metrics_of_any_size_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / METRICS_FILE).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(NasError, match="larger than"):
        read_product(tmp_path)


def test_the_digest_of_images_changes_with_names_and_labels() -> None:
    digests = {
        digest_images(["a", "b"], np.array([0, 1])),
        digest_images(["a", "b"], np.array([1, 0])),
        digest_images(["a", "c"], np.array([0, 1])),
        digest_images(["b", "a"], np.array([0, 1])),
        digest_images(["a 1", "b"], np.array([0, 1])),
    }
    assert len(digests) == 5


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    text = (folder / "model_card.md").read_text(encoding="utf-8")
    _, front, page = text.split("---\n", 2)
    return yaml.safe_load(front), page


def test_the_card_has_front_matter_of_the_hub_and_all_figures(tmp_path: Path) -> None:
    write_product(*measured_product(), tmp_path)
    front, page = card_of(tmp_path)
    assert front["license"] == "unknown"
    assert front["pipeline_tag"] == "image-classification"
    assert front["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.9}
    # The interval of 27 of 30 (Wilson) by another implementation: statsmodels' proportion_confint.
    assert "| `model.onnx` | 30 of photos | test | 90.00 | 74.38 to 96.54 |" in page
    assert "int8 loses 3.33 points" in page
    assert "times as fast" not in page  # The files were not measured in the same rounds.
    assert "The peak memory of model\\_int8.onnx was not measured." in page
    assert "mobilenetv2" in page
    assert "| `model.onnx` | 2.000 | 0.020 | 2.500 | 100 | cpu | 9.5 |" in page


def test_a_card_states_the_speed_of_the_rounds_in_which_both_files_ran_and_not_a_quotient(tmp_path: Path) -> None:
    paired = {"value": 1.6, "low": 1.55, "high": 1.65}
    write_product(*measured_product(int8={"speed_up": paired}), tmp_path / "a")
    _, page = card_of(tmp_path / "a")
    assert "int8 is 1.60 times as fast as fp32 (95% interval 1.55 to 1.65)" in page
    assert "2.00 times" not in page
    for other in (None, 3, {"value": "<b>"}, {"value": 1.6}):
        write_product(*measured_product(int8={"speed_up": other}), tmp_path / "a")
        assert "times as fast" not in card_of(tmp_path / "a")[1]


def test_no_folder_of_this_machine_is_in_a_card_or_in_what_is_uploaded(tmp_path: Path) -> None:
    made, files = measured_product()
    seen = attrs.evolve(accuracy(27), data="/home/someone/photos")
    assert made.baseline is not None
    private = attrs.evolve(
        made,
        models=tuple(attrs.evolve(model, accuracy=seen) for model in made.models),
        baseline=attrs.evolve(made.baseline, accuracy=seen),
    )
    write_product(private, files, tmp_path)
    front, page = card_of(tmp_path)
    assert front["model-index"][0]["results"][0]["dataset"] == {"name": "photos", "type": "photos", "split": "test"}
    assert "30 of photos" in page
    published, uploaded = product_files(tmp_path)
    assert not [name for name, data in uploaded.items() if b"someone" in data]
    assert parse_product(uploaded["metrics.json"].decode()) == published
    # On this machine, `nas verify` finds the images.
    kept = read_product(tmp_path).models[0].accuracy
    assert kept is not None
    assert kept.data == "/home/someone/photos"


def test_a_card_says_what_was_not_measured_and_states_a_given_license(tmp_path: Path) -> None:
    write_product(*small_product(provenance={"license": "apache-2.0"}), tmp_path)
    front, page = card_of(tmp_path)
    assert front["license"] == "apache-2.0"
    assert "model-index" not in front
    for word in ("accuracy", "latency", "peak memory"):
        assert f"The {word} of model.onnx was not measured." in page


def test_names_from_elsewhere_do_not_change_the_form_of_a_card(tmp_path: Path) -> None:
    names = ("a|b", "<script>&lt;x</script>", "line\n# heading")
    values = {"classes": names, "provenance": {"license": "x\ny: z", "source": "`code`\n---"}, "notes": ("[a](b)",)}
    write_product(*measured_product(**values), tmp_path)
    front, page = card_of(tmp_path)
    assert front["license"] == "x\\ny: z"
    assert not re.search(r"(?<!\\)<script|^# heading|^---$", page, re.MULTILINE)
    assert "a\\|b" in page
    assert not re.search(r"(?<!\\)&", page)


def test_a_text_of_several_lines_keeps_its_lines(tmp_path: Path) -> None:
    recipe = "epochs: 4\nrate: 0.1\n```\x1b\n"
    write_product(*measured_product(provenance={"recipe": recipe, "seed": "0"}), tmp_path)
    page = card_of(tmp_path)[1]
    assert "- recipe:\n\n      epochs: 4\n      rate: 0.1\n      ```\\x1b\n\n- seed: 0\n" in page


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "batch", "preprocessing"), [(3, None, True), (1, 2, True), (3, 2, False), (1, None, False)]
)
def test_the_programs_of_a_card_run_and_agree(
    tmp_path: Path, channels: int, batch: int | None, preprocessing: bool
) -> None:
    from PIL import Image

    write_product(*small_product(channels=channels, batch=batch, preprocessing=preprocessing), tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # a photograph of a telephone that was held upright
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    _, page = card_of(tmp_path)
    blocks = python_blocks(page)
    assert len(blocks) == 1 + preprocessing
    said = set()
    for block in blocks:
        program = block.replace("photo.jpg", "photo.png")
        found = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        said.add(found.stdout.split("0.")[0].strip())
    assert len(said) == 1
    assert said.pop().startswith("class ")


def test_equal_products_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_product(*measured_product(), tmp_path / name)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second


def test_an_accuracy_knows_its_interval() -> None:
    found = accuracy(27)
    assert found.value == 0.9
    assert found.interval == pytest.approx((0.7438, 0.9654), abs=1e-4)
    correct = found.correct
    assert correct is not None
    assert correct.sum() == 27
