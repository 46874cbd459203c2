"""`nas explain`: pictures and numbers of the real command, and bad input."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nas.weights.stored import write_network
from tests.cli.conftest import Nas, Ran
from tests.train.test_explanation import SIDE, color_counter, square


@pytest.fixture(name="run")
def _run(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command in this process, in a folder with two networks and a picture that has a green square."""
    write_network(color_counter(), nas.folder / "counter.safetensors")
    write_network(color_counter(None), nas.folder / "unknown.safetensors")
    save(nas.folder / "photo.png", 1)
    return partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)


def save(path: Path, channel: int) -> None:
    pixels = square(channel, 2, 4).permute(1, 2, 0).contiguous().numpy()
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_the_green_square_explains_green(run: Any, nas: Nas) -> None:
    done: Ran = run("explain", "counter.safetensors", "photo.png", "--against", "counter.safetensors", "--json")
    assert done.code == 0, done.err
    assert done.json["method"] == "gradcam"
    ((image,),) = (done.json["images"],)
    first, second = image["networks"]
    assert first == second
    assert (first["network"], first["class"]) == ("counter.safetensors", "green")
    assert first["mass"]["center"] == pytest.approx([3 / SIDE, 5 / SIDE], abs=1e-3)
    assert first["mass"]["box"] == pytest.approx([2 / SIDE, 4 / SIDE, 4 / SIDE, 5 / SIDE])
    with Image.open(nas.folder / image["picture"]) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 256  # the image and two maps


def test_a_table_is_printed_and_pictures_of_equal_names_get_numbers(run: Any, nas: Nas) -> None:
    save(nas.folder / "other" / "photo.png", 2)
    done: Ran = run("explain", "counter.safetensors", "photo.png", "other/photo.png", "--out", "maps")
    assert done.code == 0, done.err
    assert "38% from the left, 62% from the top" in done.out
    assert "wrote maps/photo-2.png" in done.out
    assert sorted(path.name for path in (nas.folder / "maps").iterdir()) == ["photo-2.png", "photo.png"]


def test_a_name_that_is_no_utf8_is_printed_as_other_commands_print_it(run: Any, nas: Nas) -> None:
    (nas.folder / "photo.png").rename(nas.folder / os.fsdecode(b"caf\xe9.png"))
    done: Ran = run("explain", "counter.safetensors", os.fsdecode(b"caf\xe9.png"), "--json")
    assert done.code == 0, done.err
    assert done.json["images"][0]["image"] == r"caf\xe9.png"


def test_a_class_without_evidence_is_said_to_have_none(run: Any) -> None:
    done: Ran = run("explain", "counter.safetensors", "photo.png", "--class", "red")
    assert done.code == 0, done.err
    assert "nothing contributes" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("counter.safetensors", "missing.png"), "missing.png' cannot be read: No such file"),
        (("counter.safetensors", "note.png"), "note.png is no image that can be decoded"),
        (("counter.safetensors", "."), "cannot be read: Is a directory"),
        (("nothing", "photo.png"), "'nothing' is no source of weights"),
        (("unknown.safetensors", "photo.png"), "the normalization of the images of unknown.safetensors is unknown"),
        (("counter.safetensors", "photo.png", "--class", "gray"), "counter.safetensors has no class 'gray'"),
        (("counter.safetensors", "photo.png", "--out", "."), "would replace the image itself"),
        (("counter.safetensors", "photo.png", "--out", "note.png"), "note.png"),
        (("counter.safetensors", "photo.png", "--against", "note.png"), "'note.png' is no source of weights"),
    ],
)
def test_bad_input_is_one_message(run: Any, nas: Nas, arguments: tuple[str, ...], message: str) -> None:
    (nas.folder / "note.png").write_text("no image")
    run("explain", *arguments).refused(message)


def test_captum_is_named_with_its_extra_if_it_is_missing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    run("explain", "counter.safetensors", "photo.png").refused("captum", "hwnas[explain]")
