"""Questions of a new user, each with the page and the sentence that answers it; run as a module it prints the lines."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from tests.cli.conftest import ROOT

ANSWERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "What do I have to install?": ("installing.md", "pip install -c constraints.txt '.["),
        "How must my photographs lie in their folder?": (
            "own_data.md",
            "Put the images of each class into a folder of its own",
        ),
        "Which files are skipped?": ("own_data.md", "a HEIC or JPEG XL image, or a file that is no image"),
        "Can I start with a few hundred images?": (
            "few_images.md",
            "With a few hundred photographs, start from a pretrained network",
        ),
        "How do I search for my own board?": ("own_device.md", "Name the device with `--device`"),
        "What do I do after a crash?": ("after_a_crash.md", "Give the same command again, in the same folder"),
        "Which of the networks that look alike do I take?": (
            "choosing.md",
            "take the one that costs least in what matters most to you",
        ),
        "When does an int8 file pay off?": ("int8.md", "it is at least **1.2 times as fast** as the fp32 file"),
        "How do I use more cores or machines?": (
            "cluster.md",
            "Give `--workers` on one machine; on several machines, run the same command on each",
        ),
        "Can I limit energy instead of latency?": (
            "own_costs.md",
            "Write a Python function that returns the cost of a network",
        ),
        "How do I start from a network of timm?": ("pretrained.md", "Pretrained networks of timm, such as"),
        "How do I train on a GPU?": ("searching.md", "the device that trains the candidates"),
        "How do I use optuna-dashboard?": ("watching.md", "optuna-dashboard sqlite:///nas.db"),
        "Can I use another sampler of Optuna?": ("sampler.md", "for any other sampler of Optuna"),
        "How do I predict the class of an image?": ("evaluating.md", "nas predict photos-trained/ holiday.jpg"),
        "How do I get an ONNX file?": ("export.md", "`nas export` writes a folder with an ONNX file"),
        "What does exit status 3 mean?": ("cli.md", "none of the networks that it measured on the device meets"),
        "What does this error message mean?": ("errors.md", "search this page for the words between the values"),
    }
)


def line_of(page: str, phrase: str) -> int | None:
    """Return the number of the line of a page on which a phrase begins, which may go on in the next line; or None."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.search(r"\s+".join(map(re.escape, phrase.split())), text)
    return text.count("\n", 0, found.start()) + 1 if found else None


if __name__ == "__main__":
    for question, (page, phrase) in ANSWERS.items():
        print(f"{question:50} docs/{page}:{line_of(page, phrase)}")  # noqa: T201
