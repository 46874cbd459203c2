"""The files of a product that people read or run: labels, model card, `predict.py` and its requirements."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from nas.arch.code import parse_text
from nas.arch.spec import MlpHead
from nas.data.names import without_folders
from nas.export.records import Accuracy, ModelRecord, Product
from nas.export.timm_form import EFFICIENTNET, FORM_FILE, MOBILENETV3, timm_form
from nas.noise import difference, wilson
from nas.version import __version__

LABELS, SCRIPT, REQUIREMENTS, CARD = "labels.txt", "predict.py", "requirements.txt", "model_card.md"
TEMPLATE = "model_card.md.jinja"
# A card with a thousand rows is not read; `metrics.json` has all of them.
MOST_CLASS_ROWS = 100
LICENSE = "license"
"""Name of the text of a product's provenance that states the license of the weights."""


def auxiliary_files(product: Product) -> dict[str, bytes]:
    """Return the files beside the models and the metrics, by their names.

    Raises:
        ModuleNotFoundError: The package huggingface-hub is not installed.
    """
    runs = any(model.form == "onnx" for model in product.models)
    texts = {LABELS: labels(product), CARD: model_card(product)}
    if any(model.form == "timm" for model in product.models):
        texts[FORM_FILE] = json.dumps(timm_form(parse_text(product.architecture)), indent=2) + "\n"
    script = {SCRIPT: (files("nas.export") / SCRIPT).read_text(encoding="utf-8"), REQUIREMENTS: requirements()}
    return {name: text.encode() for name, text in {**texts, **(script if runs else {})}.items()}


def class_names(product: Product) -> tuple[str, ...]:
    """Return a name for each class, each in one line: a number where the names are unknown."""
    names = product.classes or tuple(map(str, range(product.outputs)))
    return tuple(map(one_line, names))


def one_line(text: str) -> str:
    r"""Return a text whose control characters, line breaks among them, are escaped.

    >>> one_line("left\nright")
    'left\\nright'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def labels(product: Product) -> str:
    """Return the names of the classes, one in each line."""
    return "".join(f"{name}\n" for name in class_names(product))


def requirements() -> str:
    """Return the versions of the packages of `predict.py` with which the product is checked here."""
    import numpy as np
    import onnxruntime
    import PIL

    return f"numpy=={np.__version__}\nonnxruntime=={onnxruntime.__version__}\npillow=={PIL.__version__}\n"


def model_card(product: Product) -> str:
    """Return the model card, a Markdown page with the front matter of the Hugging Face hub."""
    from jinja2 import Environment, StrictUndefined

    # The page is Markdown, in which texts from elsewhere are escaped by the filters, and not HTML.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters |= {
        "inline": inline,
        "points": _points,
        "source": without_folders,
        "one_line": one_line,
        "count": lambda value: f"{value:,}",
    }
    template = environment.from_string((files("nas.export") / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        product=product,
        front_matter=_front_matter(product),
        names=class_names(product),
        version=product.versions.get("hwnas", __version__),
        onnx={model.precision: model for model in product.models if model.form == "onnx"},
        forms={model.form: model for model in product.models},
        timm_class=_timm_class(product),
        rows=_measured(product),
        by_class=_by_class(product),
        by_class_of=next((model.file for model in product.models if model.accuracy), ""),
        int8_loss=_int8_loss(product),
        speed_up=_speed_up(product),
        limits=_limits(product),
    )


def _timm_class(product: Product) -> tuple[str, str]:
    """Return the module and the name of the class of timm that builds the network."""
    head = parse_text(product.architecture).head
    module, _, name = (MOBILENETV3 if isinstance(head, MlpHead) else EFFICIENTNET).rpartition(".")
    return module, name


def inline(text: str) -> str:
    r"""Return a text as one line of Markdown that shows it as it is.

    >>> print(inline("a|b <i>\n*c*"))
    a\|b \<i\>\\n\*c\*
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~$!&])", r"\\\1", one_line(text))


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _front_matter(product: Product) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    measured = next((model.accuracy for model in product.models if model.accuracy), None)
    forms = {"onnx": "onnx", "timm": "timm", "torch": "pytorch"}
    used = [forms[form] for form in dict.fromkeys(model.form for model in product.models)]
    data = ModelCardData(
        license=one_line(product.provenance.get(LICENSE, "unknown")),
        library_name=used[0],
        pipeline_tag="image-classification",
        tags=["image-classification", "neural-architecture-search", *used],
        ignore_metadata_errors=True,
        # The hub rejects a name without results.
        model_name=product.name if measured else None,
        eval_results=[_result(measured, EvalResult)] if measured else None,
    )
    return str(data.to_yaml())


def _result(accuracy: Accuracy, make: Any) -> Any:
    return make(
        task_type="image-classification",
        dataset_type=one_line(without_folders(accuracy.data)),
        dataset_name=one_line(without_folders(accuracy.data)),
        dataset_split=accuracy.split,
        metric_type="accuracy",
        metric_value=accuracy.value,
    )


def _measured(product: Product) -> list[Any]:
    """Return the models, and the baseline with its name in place of a file."""
    baseline = product.baseline
    return [*product.models, *([baseline] if baseline else [])]


def _by_class(product: Product) -> list[tuple[str, int, float, float, float]]:
    """Return the name, the number of images, and the accuracy with its interval of each class that has images."""
    accuracy = next((model.accuracy for model in product.models if model.accuracy), None)
    if accuracy is None or product.outputs > MOST_CLASS_ROWS:
        return []
    counts = zip(class_names(product), accuracy.by_class, strict=True)
    return [(name, n, right / n, *wilson(right, n)) for name, (right, n) in counts if n]


def _pair(product: Product) -> tuple[ModelRecord, ModelRecord] | None:
    """Return the fp32 and the int8 model, if there are both."""
    onnx = {model.precision: model for model in product.models if model.form == "onnx"}
    return (onnx["fp32"], onnx["int8"]) if len(onnx) > 1 else None


def _int8_loss(product: Product) -> Mapping[str, float] | None:
    """Return the accuracy that int8 loses, with its paired interval, or None if it was not measured on one set."""
    pair = _pair(product)
    accuracies = [model.accuracy for model in pair or () if model.accuracy]
    rows = [each.correct for each in accuracies]
    if len(rows) < 2 or rows[0] is None or rows[1] is None or len({each.images_digest for each in accuracies}) > 1:
        return None
    found = difference([rows[0]], [rows[1]])
    half = found.half_width()
    return {"value": found.value, "low": found.value - half, "high": found.value + half, "images": len(rows[0])}


def _speed_up(product: Product) -> Mapping[str, float] | None:
    """Return how many times as fast int8 is, with its interval, or None if both were not measured in the same rounds.

    It is not the quotient of two latencies, in which a disturbance of one of them counts.
    """
    found = (product.int8 or {}).get("speed_up")
    if _pair(product) is None or not isinstance(found, Mapping):
        return None
    figures = {name: found[name] for name in ("value", "low", "high") if type(found.get(name)) is float}
    return figures if len(figures) == 3 else None


def _limits(product: Product) -> list[str]:
    """Return sentences about what is not known."""
    words = {"accuracy": "accuracy", "latency": "latency", "peak_bytes": "peak memory"}
    runnable = [model for model in product.models if model.form == "onnx"]
    missing = [
        f"The {word} of {model.file} was not measured."
        for model in runnable
        for name, word in words.items()
        if getattr(model, name) is None
    ]
    numbers = [] if product.classes else ["The names of the classes are not known; they are numbers."]
    always = [
        "Accuracies hold for images like those that were measured; other images were not measured.",
        "Latencies hold for the stated device; another device was not measured.",
    ]
    return [*missing, *numbers, *always]
