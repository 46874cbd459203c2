"""Upload of a product to the Hugging Face hub: only its own files, which are listed first."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from attrs import frozen

from nas.data.names import without_folders
from nas.errors import NasError, describe_error
from nas.export.card import CARD
from nas.export.product import METRICS_FILE, read_product
from nas.export.product_json import format_product
from nas.export.records import Baseline, ModelRecord, Product
from nas.files import read_bytes

README = "README.md"
"""Name under which the hub shows a model card."""
MAIN = "main"
MOST_BYTES = 2**32
CHANGED = "export the network again; a license or a text of your own belongs into model_card.md"
T = TypeVar("T")
M = TypeVar("M", ModelRecord, Baseline)
_REFUSALS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        401: ("the token is not valid", "log in with `hf auth login`, or set HF_TOKEN to a token that can write"),
        403: ("the token may not write there", "give a token that can write, or a repository of your own"),
        404: ("there is no such repository or branch for this token", "check the name and the token"),
        409: (
            "a repository of this name exists already",
            "choose another name, or give --revision BRANCH to add a commit to it, such as --revision main",
        ),
    }
)


def product_files(folder: Path) -> tuple[Product, Mapping[str, bytes]]:
    """Return a product and the files of it that are uploaded, by their names in the repository.

    Other files of the folder are not among them. The model card may be changed, and is also the repository's README.
    `metrics.json` names the images without the folders that they have on this machine.

    Raises:
        NasError: The folder is not that of a product, or one of its files is missing, a link, or changed.
    """
    product = read_product(folder)
    published = _without_folders(product)
    files = {name: _read(folder / name) for name in (METRICS_FILE, *product.digests)}
    for name, digest in product.digests.items():
        if name != CARD and sha256(files[name]).hexdigest() != digest:
            raise NasError(
                f"{folder / name} was changed after it was written, and metrics.json is not about it", CHANGED
            )
    if published != product:
        files[METRICS_FILE] = format_product(published).encode()
    return published, {**files, README: files[CARD]} if CARD in files else files


def _without_folders(product: Product) -> Product:
    """Return a product that names the images without the folders of this machine, in which `nas verify` finds them."""
    models = tuple(_with_short_source(model) for model in product.models)
    baseline = product.baseline and _with_short_source(product.baseline)
    return attrs.evolve(product, models=models, baseline=baseline)


def _with_short_source(measured: M) -> M:
    accuracy = measured.accuracy
    if accuracy is None:
        return measured
    return attrs.evolve(measured, accuracy=attrs.evolve(accuracy, data=without_folders(accuracy.data)))


def _read(path: Path) -> bytes:
    try:
        if path.is_symlink():
            raise OSError("it is a symbolic link, and a product holds its files themselves")
        return read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise NasError(f"{path} cannot be read: {error.strerror or error}", "export the network again") from None


@frozen
class Upload:
    """Hold what an upload made.

    Attributes:
        repository: Owner and name of the repository.
        revision: Branch.
        url: Address of the page of the repository.
        commit: Identifier of the commit.
    """

    repository: str
    revision: str
    url: str
    commit: str


def upload(files: Mapping[str, bytes], repository: str, *, private: bool, revision: str | None, message: str) -> Upload:
    """Upload files to a repository in one commit.

    Args:
        files: Content of the files by their names.
        repository: Owner and name, such as "me/small".
        private: Whether a new repository is private.
        revision: Branch; a repository that exists gets a commit only where it is given. None is the main branch of a
            new repository.
        message: Message of the commit.

    Raises:
        NasError: The hub cannot be reached or refuses; nothing is uploaded then, but a new repository may be left.
        ModuleNotFoundError: The package huggingface-hub is not installed.
    """
    import huggingface_hub as hub

    if hub.get_token() is None:
        raise NasError(
            "there is no token for the Hugging Face hub, and an upload needs one that can write",
            "log in with `hf auth login`, or set HF_TOKEN",
        )
    api = hub.HfApi()
    ask = _Asking(f"{repository} on {api.endpoint}")
    added = [hub.CommitOperationAdd(name, data) for name, data in files.items()]
    made = ask(lambda: api.create_repo(repository, private=private, exist_ok=revision is not None))
    branch = revision or MAIN
    # From here on the repository exists.
    ask = _Asking(ask.where, f"; give --revision {branch} then, because the repository is there now")
    if branch != MAIN:
        ask(lambda: api.create_branch(repository, branch=branch, exist_ok=True))
    commit = ask(lambda: api.create_commit(repository, added, commit_message=message, revision=branch))
    return Upload(repository, branch, str(made), str(commit.oid))


@frozen
class _Asking:
    """Call the hub, and report every error as one sentence.

    Attributes:
        where: Repository and address of the hub.
        then: End of every remedy.
    """

    where: str
    then: str = ""

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what a call of the hub's library returns.

        Raises:
            NasError: The call failed.
        """
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            return call()
        except HFValidationError as error:
            raise NasError(f"{error}"[:300], "write the repository as OWNER/NAME") from None
        except HfHubHTTPError as error:
            raise self._refusal(error) from None
        except ValueError as error:  # a card whose front matter the hub rejects
            raise NasError(
                f"{self.where} rejects the files: {error}"[:600], f"correct model_card.md{self.then}"
            ) from None
        except Exception as error:  # errors of the connection, of which each HTTP library has its own
            raise NasError(
                f"{self.where} cannot be reached: {describe_error(error)}"[:600],
                f"check the connection to the network, and push again{self.then}",
            ) from None

    def _refusal(self, error: Any) -> NasError:
        status = getattr(error.response, "status_code", 0)
        problem, remedy = _REFUSALS.get(status, (f"{error}"[:300], "push again later"))
        said = getattr(error, "server_message", None)
        return NasError(
            f"{self.where}: {problem} (status {status}{f': {said}'[:200] if said else ''})", f"{remedy}{self.then}"
        )
