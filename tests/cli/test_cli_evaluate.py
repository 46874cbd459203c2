"""`nas evaluate` and `nas predict`, with small networks of random weights."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.arch.code import parse_text
from nas.data.load import load_split
from nas.models.build import build_model
from nas.train.prediction import Predictor
from nas.weights.base import Normalization, TrainedNetwork
from nas.weights.stored import write_network
from tests.cli.conftest import Nas, Ran

TINY = "net resolution=16 classes={}\nstem conv k3 s2 c8\nmbconv k3 s2 e2 c8\nhead conv c16"
HALF = Normalization((0.5,) * 3, (0.5,) * 3)
DIGITS = tuple(map(str, range(10)))


def network(path: Path, classes: tuple[str, ...] | None = DIGITS, seed: int = 0, outputs: int = 10) -> TrainedNetwork:
    """A file with a small network."""
    torch.manual_seed(seed)
    arch = parse_text(TINY.format(outputs if classes is None else len(classes)))
    made = TrainedNetwork(arch, build_model(arch).state_dict(), classes, HALF)
    write_network(made, path)
    return made


@pytest.fixture(name="run")
def _run(nas: Nas, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> "partial[Ran]":
    # In this process, because importing torch takes longer than the command.
    return partial(nas.here, capsys=capsys, monkeypatch=monkeypatch)


class TestEvaluate:
    def test_the_real_command_evaluates_the_test_split(self, nas: Nas, tmp_path: Path) -> None:
        made = network(tmp_path / "tiny.safetensors")
        done = nas("evaluate", "tiny.safetensors", "--data", "digits", "--train-on", "cpu", "--json", "--out", "e")
        assert done.code == 0, done.err
        split = load_split("digits", "test", resolution=16)
        correct = Predictor(HALF, "cpu").correct(made.module(), split.images)
        found = done.json["assessment"]
        assert found["images"] == len(correct) == 359
        assert found["accuracy"]["value"] == correct.mean()
        assert found["accuracy"]["low"] < correct.mean() < found["accuracy"]["high"]
        assert [row["name"] for row in found["classes"]] == list(DIGITS)
        assert json.loads((tmp_path / "e" / "evaluation.json").read_text()) == done.json
        files = sorted(path.name for path in (tmp_path / "e").iterdir())
        assert files == ["confusion.html", "evaluation.json", "reliability.html"]

    def test_two_networks_are_compared_on_the_same_images(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors")
        network(tmp_path / "two.safetensors", seed=1)
        arguments = ("evaluate", "one.safetensors", "--data", "digits", "--split", "val", "--train-on", "cpu")
        done = run(*arguments, "--against", "two.safetensors", "--json").json
        accuracies = [each["assessment"]["accuracy"]["value"] for each in (done, done["baseline"])]
        assert done["accuracy_difference"]["value"] == pytest.approx(accuracies[0] - accuracies[1])
        assert done["split"] == "val"
        same = run(*arguments, "--against", "one.safetensors")
        assert "accuracy of one minus one: +0.00 points" in same.out

    def test_robustness_is_measured_with_drawings_and_as_tables(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors")
        arguments = ("evaluate", "one.safetensors", "--data", "digits", "--train-on", "cpu", "--robustness")
        done = run(*arguments, "--images", "20", "--out", "e", "--against", "one.safetensors")
        assert done.code == 0, done.err
        for words in (
            "robustness on 20 images, corrupted at 8 px",
            "jpeg compression",
            "mean corruption error",
            "turned",
        ):
            assert words in done.out
        values = json.loads((tmp_path / "e" / "evaluation.json").read_text())["robustness"]
        assert values["against"]["error_difference"]["value"] == 0
        assert values["network"]["corruptions"] == values["baseline"]["corruptions"]
        assert (tmp_path / "e" / "corruptions.html").exists()

    def test_masks_are_read_by_the_names_of_the_images(self, run: "partial[Ran]", tmp_path: Path) -> None:
        photographs(tmp_path / "photos")
        for path in (tmp_path / "photos").rglob("*.png"):
            (tmp_path / "masks" / path.parent.name).mkdir(parents=True, exist_ok=True)
            mask = Image.new("L", (20, 20))
            mask.paste(255, (5, 5, 15, 15))
            mask.save(tmp_path / "masks" / path.parent.name / path.name)
        network(tmp_path / "one.safetensors", ("blue", "red"))
        arguments = ("evaluate", "one.safetensors", "--data", "photos", "--train-on", "cpu", "--robustness")
        done = run(*arguments, "--masks", "masks", "--json").json["robustness"]
        assert (done["masks"], done["masked"], done["images"]) == ("given", 4, 4)
        assert len(done["network"]["backgrounds"]) == 5
        (tmp_path / "masks" / "red").rename(tmp_path / "masks" / "green")
        (tmp_path / "masks" / "blue").rename(tmp_path / "masks" / "brown")
        found = run(*arguments, "--masks", "masks")
        assert found.code == 1
        assert "none has the name of an image" in found.err

    def test_bad_input_is_one_message(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "letters.safetensors", tuple("abcdefghij"))
        network(tmp_path / "five.safetensors", None, outputs=5)
        evaluate = partial(run, "evaluate", "--data", "digits", "--train-on", "cpu")
        evaluate("letters.safetensors").refused("does not know: 0, 1, 2, 3, 4 and 5 more")
        evaluate("five.safetensors").refused("10 classes", "5 classes without names")
        evaluate("absent.safetensors").refused("absent.safetensors")
        evaluate("letters.safetensors", "--masks", "m").refused("--robustness", code=2)
        evaluate("letters.safetensors", "--png").refused("--out", code=2)

    def test_a_file_of_another_kind_is_not_overwritten(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors")
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "evaluation.json").write_text('{"mine": 1}')
        done = run("evaluate", "one.safetensors", "--data", "digits", "--train-on", "cpu", "--out", "e")
        assert done.code == 1
        assert "something else" in done.err
        assert (tmp_path / "e" / "evaluation.json").read_text() == '{"mine": 1}'
        assert "accuracy" in done.out  # the result is not lost


def photographs(folder: Path, each: int = 10) -> None:
    """An image folder of two classes."""
    generator = np.random.default_rng(0)
    for name, color in (("red", (200, 30, 30)), ("blue", (30, 30, 200))):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            noise = generator.integers(-20, 20, (20, 20, 3))
            pixels = (np.array(color) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


class TestPredict:
    def test_images_of_any_form_are_predicted_as_the_data_set_decodes_them(
        self, run: "partial[Ran]", tmp_path: Path
    ) -> None:
        photographs(tmp_path / "photos", 3)
        made = network(tmp_path / "one.safetensors", ("blue", "red"))
        done = run("predict", "one.safetensors", "photos", "--top", "2", "--train-on", "cpu", "--json").json
        split = load_split(str(tmp_path / "photos"), "test", resolution=16)
        rows = {
            row["file"]: {each["class"]: each["probability"] for each in row["predictions"]}
            for row in done["predictions"]
        }
        assert len(rows) == 6
        expected = Predictor(HALF, "cpu").logits(made.module(), split.images).softmax(1)
        for name, (blue, red) in zip(split.names, expected.tolist(), strict=True):
            assert rows[f"photos/{name}"] == pytest.approx({"blue": blue, "red": red}, abs=1e-5)

    def test_every_kind_of_image_file_is_read(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors", ("blue", "red"))
        rotated = Image.Exif()
        rotated[0x0112] = 6
        plain = Image.new("RGB", (60, 40), "red")
        plain.save(tmp_path / "a.jpg", exif=rotated)
        plain.convert("CMYK").save(tmp_path / "b.jpg")
        plain.convert("L").save(tmp_path / "c.png")
        plain.convert("RGBA").save(tmp_path / "d.png")
        plain.resize((4000, 3000)).save(tmp_path / "e.jpg")
        files = [f"{letter}.{kind}" for letter, kind in zip("abcde", ("jpg", "jpg", "png", "png", "jpg"), strict=True)]
        done = run("predict", "one.safetensors", *files, "--train-on", "cpu")
        assert done.code == 0, done.err
        lines = done.out.splitlines()
        assert [line.split("  ")[0] for line in lines] == files
        assert all(line.split("  ")[1] in ("blue", "red") and line.endswith("%") for line in lines)

    def test_a_broken_file_is_reported_and_the_others_are_predicted(self, nas: Nas, tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors", ("blue", "red"))
        (tmp_path / "bad.jpg").write_bytes(b"no image")
        Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
        done = nas("predict", "one.safetensors", "bad.jpg", "absent.jpg", "good.png", "--train-on", "cpu")
        assert done.code == 1
        assert done.out.startswith("good.png  ")
        assert "bad.jpg is not an image that can be decoded" in done.err
        assert "absent.jpg cannot be read: No such file" in done.err
        assert "Traceback" not in done.err

    def test_json_has_a_row_for_every_file(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors", None, outputs=3)
        (tmp_path / "bad.jpg").write_bytes(b"no image")
        Image.new("RGB", (9, 9)).save(tmp_path / "good.png")
        done = run("predict", "one.safetensors", "bad.jpg", "good.png", "--top", "9", "--train-on", "cpu", "--json")
        assert done.code == 1
        bad, good = done.json["predictions"]
        assert done.json["failed"] == 1
        assert bad["predictions"] == []
        assert "bad.jpg" in bad["problem"]
        assert good["problem"] is None
        assert {each["class"] for each in good["predictions"]} == {"0", "1", "2"}
        assert sum(each["probability"] for each in good["predictions"]) == pytest.approx(1)

    def test_bad_input_is_one_message(self, run: "partial[Ran]", tmp_path: Path) -> None:
        network(tmp_path / "one.safetensors")
        (tmp_path / "empty").mkdir()
        run("predict", "one.safetensors", "empty").refused("has no images")
        run("predict", "absent.safetensors", "empty").refused("images")
        run("predict", "one.safetensors", "--top", "0", "x.png").refused("--top", code=2)
