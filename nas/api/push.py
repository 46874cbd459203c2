"""Upload of an exported network to the Hugging Face hub."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen

from nas.api.arguments import check_arguments
from nas.api.errors import explain_missing

if TYPE_CHECKING:
    from nas.export.hub import Upload

__all__ = ["PushedProduct", "push_product"]

Say = Callable[[str], None]


@frozen
class PushedProduct:
    """Represent an upload of an exported network.

    Attributes:
        files: Names of the files in the repository.
        upload: Repository, branch, address and commit.

    >>> from nas.export.hub import Upload
    >>> import nas
    >>> upload = Upload("me/small", "main", "https://huggingface.co/me/small", "1f2e3d")
    >>> nas.PushedProduct(("model.onnx", "metrics.json"), upload).as_json()["files"]
    ['model.onnx', 'metrics.json']
    """

    files: tuple[str, ...]
    upload: "Upload"

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**attrs.asdict(self.upload), "files": list(self.files)}


@check_arguments
@explain_missing()
def push_product(
    folder: str | Path, repository: str, *, private: bool = False, revision: str | None = None
) -> PushedProduct:
    """Upload the folder of an exported network to a repository of the Hugging Face hub.

    Only the files that `metrics.json` lists are uploaded, in one commit; the model card becomes the README too. The
    token is the one that the library huggingface-hub finds: HF_TOKEN, or that of `hf auth login`.

    Args:
        folder: Folder that `nas.export_model` wrote.
        repository: Owner and name of a new repository, such as "me/small".
        private: Whether the new repository is private; otherwise everyone can read it.
        revision: Branch; with it, a repository that exists gets another commit.

    Returns:
        The address of the repository and the commit.

    Raises:
        NasError: The folder is not that of an exported network or was changed, or the hub cannot be reached or refuses.
        MissingPackageError: huggingface-hub is not installed.

    >>> import nas
    >>> try:
    ...     nas.push_product("nowhere", "me/small")
    ... except nas.NasError as error:
    ...     print(error.remedy)
    give the complete folder that `nas export` wrote
    """
    return push(Path(folder), repository, lambda _message: None, private=private, revision=revision)


@explain_missing()
def push(folder: Path, repository: str, say: Say, *, private: bool, revision: str | None) -> PushedProduct:
    """Upload a folder; see `push_product`.

    Args:
        folder: The folder.
        repository: Owner and name of the repository.
        say: Function that is called with the list of the files before the upload.
        private: Whether a new repository is private.
        revision: Branch, or None.

    Raises:
        NasError: As `push_product` raises it.
    """
    from nas.export.hub import product_files, upload

    product, files = product_files(folder)
    size = sum(map(len, files.values()))
    say(f"{len(files)} files, {size / 1e6:.1f} MB, for {repository}: {', '.join(files)}")
    message = f"{product.name}, exported by nas"
    return PushedProduct(tuple(files), upload(files, repository, private=private, revision=revision, message=message))
