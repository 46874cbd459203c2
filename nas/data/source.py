"""The record of an opened source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

KINDS = (
    "give 'digits', a Parquet file, a folder of Parquet files, a folder with one subfolder for each class, or a name "
    "on the Hugging Face hub, owner/name"
)


@attrs.frozen(eq=False)
class Source:
    """Hold an opened source.

    Args:
        parts: Tables of the `datasets` library by split, including `train`; `test` may have only the label column.
        root: Folder that relative image paths start from.
        flip: Whether a mirrored image keeps its label.
        notes: Sentences for the user about the source.
        broken: Names of the links to images that lead to nothing.
    """

    parts: Mapping[str, Any]
    root: Path = Path()
    flip: bool = True
    notes: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
