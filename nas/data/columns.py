"""Which column of a table holds the images and which the labels, and what the labels say."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor

from nas.data.wording import listed
from nas.errors import DataError

_IMAGE_NAMES = ("image", "img", "picture")
_LABEL_NAMES = ("label", "labels", "class", "fine_label")


# Classes are uneven where the largest has more than so many times the images of the smallest.
_EVEN = 3


@attrs.frozen(eq=False)
class Labels:
    """Labels of every part, int64 `(N,)`, as indices into `classes`; `notes` are said to the user."""

    codes: Mapping[str, Tensor]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def image_column(features: Mapping[str, Any]) -> str:
    """Name of the one column that holds images: by its type, or else by its name.

    Raises:
        DataError: there is none, or more than one.
    """
    return _only(features, "image", (_is_image, _is_stored_image, _is_named_bytes))


def label_column(features: Mapping[str, Any]) -> str:
    """Name of the one column that holds labels: a class label by name, then by name alone, then by type alone.

    Raises:
        DataError: there is none, or more than one.
    """
    return _only(features, "label", (_is_named_class, _is_named_label, _is_class))


def read_labels(parts: Mapping[str, Any], column: str) -> Labels:
    """Read the labels of every part.

    Args:
        parts: tables of the `datasets` library by part, with `train` among them.
        column: the label column.

    Raises:
        DataError: labels are missing, name one class only, or occur in another part and not in train.
    """
    feature = parts["train"].features[column]
    values = {part: list(table.select_columns([column])[:][column]) for part, table in parts.items()}
    _check_present(values, column, _is_class("", feature))
    names = dict(enumerate(feature.names)) if _is_class("", feature) else {}
    known = sorted(set(values["train"]))
    _check_known(values, known, names)
    code = {value: k for k, value in enumerate(known)}
    codes = {part: torch.tensor([code[value] for value in held]) for part, held in values.items()}
    unused = [name for value, name in names.items() if value not in code]
    notes = (f"{len(unused)} classes have no image and are left out: {listed(unused)}",) if unused else ()
    return Labels(codes, tuple(str(names.get(value, value)) for value in known), notes)


def say_balance(codes: Tensor, classes: tuple[str, ...]) -> tuple[str, ...]:
    """What to say of the sizes of classes, where the largest has more than three times the images of the smallest.

    Args:
        codes: labels `(N,)` of the train part, every class among them.
        classes: their names.
    """
    counts = torch.bincount(codes, minlength=len(classes)).tolist()
    least, most = min(counts), max(counts)
    if most <= _EVEN * least:
        return ()
    small, large = classes[counts.index(least)], classes[counts.index(most)]
    return (
        f"classes are uneven, from {least:,} images to train on ({small}) to {most:,} ({large}): accuracy says most of "
        "the large ones, balanced accuracy as much of each",
    )


def _check_present(values: Mapping[str, list[Any]], column: str, is_class: bool) -> None:
    # A class label of -1 is how the `datasets` library writes a label that is withheld.
    absent = (None, -1) if is_class else (None,)
    missing = sum(value in absent for held in values.values() for value in held)
    if missing:
        count = sum(map(len, values.values()))
        raise DataError(
            f"every image needs a label: {missing:,} of {count:,} have none in the column {column!r}",
            "fill the labels in, or leave these images out",
        )


def _check_known(values: Mapping[str, list[Any]], known: list[Any], names: Mapping[int, str]) -> None:
    if len(known) < 2:
        told = listed([str(names.get(value, value)) for value in known])
        raise DataError(
            f"at least two classes are needed to tell apart, there is only {told}", "add images of another class"
        )
    for part, held in values.items():
        strange = sorted(set(held) - set(known))
        if strange:
            told = listed([str(names.get(value, value)) for value in strange])
            raise DataError(
                f"every class must occur in the train part: {part} has {told}, train does not",
                "move images of it to the train part, or leave it out",
            )


def _only(features: Mapping[str, Any], what: str, rules: tuple[Callable[[str, Any], bool], ...]) -> str:
    """The one column that the first rule with any match picks out."""
    picks = ([name for name, feature in features.items() if rule(name, feature)] for rule in rules)
    found = next(filter(None, picks), [])
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{name} ({_kind(feature)})" for name, feature in features.items())
    problem = f"several could be the {what} column: {', '.join(found)}" if found else f"no {what} column is recognised"
    remedy = f"keep one, named {what!r}; an image is bytes, a label is an integer or a string"
    raise DataError(f"{problem}; the columns are {there}", remedy)


def _kind(feature: Any) -> str:
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
