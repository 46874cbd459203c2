"""Tests of `nas push` against a local server that answers as the hub does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.export.product import write_product
from tests.export.hub_stub import COMMIT, Hub, serving
from tests.export.products import measured_product, small_product

SLOW_NETWORK = "http://127.0.0.1:9"  # the port of a service that discards; nothing listens there


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as served:
        yield served


@pytest.fixture
def product(tmp_path: Path) -> Path:
    folder = tmp_path / "product"
    write_product(*measured_product(), folder)
    return folder


def push(
    folder: Path,
    hub: Hub | None,
    *arguments: str,
    token: str | None = "hf_right",  # noqa: S107 -- no secret
) -> subprocess.CompletedProcess[str]:
    """Run the command with nothing of the user's own login."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    own = {
        "HF_ENDPOINT": hub.url if hub else SLOW_NETWORK,
        "HF_HOME": str(folder.parent / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    } | ({"HF_TOKEN": token} if token else {})
    program = [sys.executable, "-m", "nas", "push", str(folder), *arguments]
    return subprocess.run(program, env={**kept, **own}, capture_output=True, text=True, timeout=120)


def test_only_the_files_of_the_product_are_uploaded(product: Path, hub: Hub) -> None:
    (product / "secret.txt").write_text("password")
    (product / ".env").write_text("password")
    with (product / "model_card.md").open("a") as card:
        card.write("\nMy own text.\n")
    done = push(product, hub, "me/small", "--json")
    assert done.returncode == 0, done.stderr
    files = hub.repositories["me/small"]["main"]
    expected = {path.name for path in product.iterdir()} - {"secret.txt", ".env"} | {"README.md"}
    assert files.keys() == expected
    assert all(files[name] == (product / name).read_bytes() for name in expected - {"README.md"})
    assert files["README.md"] == files["model_card.md"]
    assert files["README.md"].endswith(b"My own text.\n")
    found = json.loads(done.stdout)
    assert (found["repository"], found["commit"], set(found["files"])) == ("me/small", COMMIT, expected)
    # The list comes before the upload.
    assert done.stderr.startswith("8 files, 0.0 MB, for me/small: metrics.json, ")
    assert not hub.private["me/small"]


@pytest.mark.slow
def test_a_repository_can_be_private_and_an_existing_one_needs_a_branch(product: Path, hub: Hub) -> None:
    assert push(product, hub, "me/small", "--private").returncode == 0
    assert hub.private["me/small"]
    again = push(product, hub, "me/small")
    assert again.returncode == 1
    assert "a repository of this name exists already" in again.stderr
    assert "--revision" in again.stderr
    other = push(product, hub, "me/small", "--revision", "v2")
    assert other.returncode == 0, other.stderr
    assert f"{hub.url}/me/small has the commit {COMMIT} on v2" in other.stdout
    assert hub.repositories["me/small"]["v2"].keys() == hub.repositories["me/small"]["main"].keys()


@pytest.mark.parametrize(
    ("token", "told"),
    [(None, "there is no token for the Hugging Face hub"), ("hf_wrong", "the token is not valid (status 401")],
)
def test_a_missing_or_wrong_token_is_one_message(product: Path, hub: Hub, token: str | None, told: str) -> None:
    done = push(product, hub, "me/small", token=token)
    assert done.returncode == 1
    assert told in done.stderr
    assert "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr
    assert not hub.repositories


@pytest.mark.slow
def test_a_refusal_is_one_message(product: Path, hub: Hub) -> None:
    hub.refused = 403
    done = push(product, hub, "me/small")
    assert done.returncode == 1
    assert "the token may not write there (status 403: You don't have the rights)" in done.stderr
    assert "--revision main" in done.stderr  # the empty repository is left
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_card_that_the_hub_rejects_is_one_message(product: Path, hub: Hub) -> None:
    card = product / "model_card.md"
    card.write_text(card.read_text().replace("license: unknown", "license:"))
    done = push(product, hub, "me/small")
    assert done.returncode == 1
    assert "rejects the files" in done.stderr
    assert "license is required" in done.stderr


@pytest.mark.slow
def test_no_network_and_a_wrong_name_are_one_message(product: Path) -> None:
    done = push(product, None, "me/small")
    assert done.returncode == 1
    assert f"me/small on {SLOW_NETWORK} cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    named = push(product, None, "no name!")
    assert named.returncode == 1
    assert "write the repository as OWNER/NAME" in named.stderr


@pytest.mark.slow
def test_changed_files_and_links_are_not_uploaded(product: Path, hub: Hub, tmp_path: Path) -> None:
    (product / "labels.txt").write_text("other\n")
    changed = push(product, hub, "me/small")
    assert changed.returncode == 1
    assert "labels.txt was changed after it was written" in changed.stderr
    write_product(*small_product(), tmp_path / "second")
    secret = tmp_path / "secret"
    secret.write_text("password")
    card = tmp_path / "second" / "model_card.md"
    card.unlink()
    card.symlink_to(secret)
    linked = push(tmp_path / "second", hub, "me/small")
    assert linked.returncode == 1
    assert "symbolic link" in linked.stderr
    assert not hub.requests
