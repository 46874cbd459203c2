"""The folder of an exported network: its model files, `metrics.json`, and what users need beside them."""

from collections.abc import Mapping
from pathlib import Path

from nas.export.records import Accuracy, Baseline, FileRecord, Latency, ModelRecord, Product, digest_images

__all__ = [
    "METRICS_FILE",
    "Accuracy",
    "Baseline",
    "FileRecord",
    "Latency",
    "ModelRecord",
    "Product",
    "check_product_folder",
    "digest_images",
    "read_product",
    "write_product",
]

FORMAT = "nas-product/1"
METRICS_FILE = "metrics.json"


def check_product_folder(folder: Path) -> None:
    """Check that a product may be written to a folder, before any work is done for it.

    Raises:
        NasError: The path is not a folder, cannot be written to, or holds anything else than an unchanged product.
    """
    raise NotImplementedError


def write_product(product: Product, files: Mapping[str, bytes], folder: Path) -> Product:
    """Write the folder of a product; an unchanged earlier product in it is replaced.

    Args:
        product: What is known about the network. Each of its models is in `files`.
        files: Model files by their names in the folder.
        folder: Folder, which is made if there is none.

    Returns:
        The product as it is written, with the digests of all files.

    Raises:
        NasError: The folder holds anything else, or cannot be written to.
        MissingPackageError: The package jinja2 is not installed.
    """
    raise NotImplementedError


def read_product(folder: Path) -> Product:
    """Return the product of a folder from its `metrics.json`; the digests of its files are not checked.

    Raises:
        NasError: The file is missing, too large, of another format or damaged.
    """
    raise NotImplementedError
