"""Detection of the image column and the label column of a table, and reading of the labels."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import attrs
import torch
from torch import Tensor

from nas.data.wording import listed
from nas.errors import DataError

_IMAGE_NAMES = ("image", "img", "picture")
_LABEL_NAMES = ("label", "labels", "class", "fine_label")
# Classes are reported as imbalanced if the largest has more than this many times the images of the smallest.
_MAX_IMBALANCE = 3


@attrs.frozen(eq=False)
class Labels:
    """Hold the labels of every split.

    Args:
        codes: Labels by split, int64 `(N,)`; each is an index into `classes`. A test split without labels is left out.
        classes: Class names in the order of the indices.
        notes: Sentences for the user about the labels.
    """

    codes: Mapping[str, Tensor]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def image_column(features: Mapping[str, Any]) -> str:
    """Return the name of the one column that holds images.

    A column of an image type is preferred; otherwise a column of bytes with a usual name, such as `image`, is taken.

    Args:
        features: Types of the columns by name, as the `datasets` library describes them.

    Raises:
        DataError: No column holds images, or several columns do.

    Example:
        >>> from datasets import ClassLabel, Image
        >>> image_column({"photo": Image(), "label": ClassLabel(names=["cat", "dog"])})
        'photo'
    """
    return _only(features, "image", (_is_image, _is_stored_image, _is_named_bytes))


def label_column(features: Mapping[str, Any]) -> str:
    """Return the name of the one column that holds labels.

    A class label with a usual name, such as `label`, is preferred; then a column of strings or integers with a usual
    name is taken, and then a class label of any name.

    Args:
        features: Types of the columns by name, as the `datasets` library describes them.

    Raises:
        DataError: No column holds labels, or several columns do.
    """
    return _only(features, "label", (_is_named_class, _is_named_label, _is_class))


def read_labels(parts: Mapping[str, Any], column: str) -> Labels:
    """Read the labels of every split.

    Args:
        parts: Tables of the `datasets` library by split, including `train`.
        column: Name of the label column.

    Raises:
        DataError: Labels are missing, there is only one class, or another split has a class that `train` lacks.
    """
    feature = parts["train"].features[column]
    values = {part: list(table.select_columns([column])[:][column]) for part, table in parts.items()}
    is_class = _is_class("", feature)
    withheld = "test" in values and all(map(_is_missing(is_class), values["test"]))
    if withheld:
        del values["test"]
    _check_no_missing(values, column, is_class)
    names = dict(enumerate(feature.names)) if is_class else {}
    known = sorted(set(values["train"]))
    _check_classes(values, known, names)
    code = {value: k for k, value in enumerate(known)}
    codes = {part: torch.tensor([code[value] for value in held]) for part, held in values.items()}
    unused = [name for value, name in names.items() if value not in code]
    notes = (
        f"classes without images are ignored, {len(unused)} in all: {listed(unused)}" if unused else "",
        "the labels of the split test are withheld: without labels it is ignored" if withheld else "",
    )
    return Labels(codes, tuple(str(names.get(value, value)) for value in known), tuple(filter(None, notes)))


def describe_balance(codes: Tensor, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a note for the user if the largest class has more than three times the images of the smallest.

    Args:
        codes: Labels `(N,)` of the training split; every class occurs.
        classes: Class names in the order of the labels.

    Example:
        >>> import torch
        >>> describe_balance(torch.tensor([0, 0, 1]), ("cat", "dog"))
        ()
    """
    counts = torch.bincount(codes, minlength=len(classes)).tolist()
    least, most = min(counts), max(counts)
    if most <= _MAX_IMBALANCE * least:
        return ()
    small, large = classes[counts.index(least)], classes[counts.index(most)]
    return (
        f"the classes are imbalanced: they have from {least:,} training images ({small}) to {most:,} ({large}); "
        "accuracy mostly reflects the large classes, balanced accuracy reflects every class equally",
    )


def _check_no_missing(values: Mapping[str, list[Any]], column: str, is_class: bool) -> None:
    missing = sum(map(_is_missing(is_class), chain.from_iterable(values.values())))
    if missing:
        count = sum(map(len, values.values()))
        raise DataError(
            f"{missing:,} of {count:,} images have no label in the column {column!r}; every image needs a label",
            "fill in the labels, or remove these images",
        )


def _is_missing(is_class: bool) -> Callable[[Any], bool]:
    # The `datasets` library stores a withheld class label as -1.
    absent = (None, -1) if is_class else (None,)
    return lambda label: label in absent


def _check_classes(values: Mapping[str, list[Any]], known: list[Any], names: Mapping[int, str]) -> None:
    if len(known) < 2:
        found = listed([str(names.get(value, value)) for value in known])
        raise DataError(
            f"there is only one class, {found}; classification needs at least two classes",
            "add images of another class",
        )
    for split, labels in values.items():
        unknown = sorted(set(labels) - set(known))
        if unknown:
            found = listed([str(names.get(value, value)) for value in unknown])
            raise DataError(
                f"{split} has images of class {found}, but train has none; every class must occur in the training "
                "split train",
                f"move images of this class to train, or remove the class from {split}",
            )


def _only(features: Mapping[str, Any], what: str, rules: tuple[Callable[[str, Any], bool], ...]) -> str:
    """Return the one column that the first rule with a match selects."""
    matches = ([name for name, feature in features.items() if rule(name, feature)] for rule in rules)
    found = next(filter(None, matches), [])
    if len(found) == 1:
        return found[0]
    columns = ", ".join(f"{name} ({_type_name(feature)})" for name, feature in features.items())
    problem = f"several columns can be the {what} column: {', '.join(found)}" if found else f"there is no {what} column"
    requirement = "a table must have one column of images (bytes) and one of labels (integers or strings)"
    remedy = f"keep one {what} column and remove the others" if found else f"name the {what} column {what!r}"
    raise DataError(f"{problem}; the columns are {columns}; {requirement}", remedy)


def _type_name(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or type(feature).__name__)


def _is_image(_: str, feature: Any) -> bool:
    from datasets import Image

    return isinstance(feature, Image)


def _is_stored_image(_: str, feature: Any) -> bool:
    return isinstance(feature, Mapping) and set(feature) == {"bytes", "path"}


def _is_named_bytes(name: str, feature: Any) -> bool:
    return name in _IMAGE_NAMES and getattr(feature, "dtype", None) in ("binary", "large_binary")


def _is_class(_: str, feature: Any) -> bool:
    from datasets import ClassLabel

    return isinstance(feature, ClassLabel)


def _is_named_class(name: str, feature: Any) -> bool:
    return name in _LABEL_NAMES and _is_class(name, feature)


def _is_named_label(name: str, feature: Any) -> bool:
    kind = str(getattr(feature, "dtype", ""))
    return name in _LABEL_NAMES and kind.removeprefix("large_").removeprefix("u").startswith(("string", "int"))
