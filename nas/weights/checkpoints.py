"""Folders that a full training run writes: the names of their files, and the weights file of a checkpoint."""

from pathlib import Path

from nas.errors import WeightsError

WEIGHTS_FILE, LAST_FILE = "weights.safetensors", "last.safetensors"
ARCHITECTURE_FILE, RECIPE_FILE, METRICS_FILE = "architecture.json", "recipe.yaml", "metrics.json"


def is_checkpoint_folder(path: Path) -> bool:
    """Return whether a path is a folder with the weights of a training run."""
    return _is_there(path) and (path / WEIGHTS_FILE).is_file()


def find_weights_file(path: Path) -> Path:
    """Return the weights file of a checkpoint.

    Args:
        path: Folder that a training run wrote, which stands for its best weights, or a weights file.

    Raises:
        WeightsError: The path is a folder without weights of a training run.
    """
    if is_checkpoint_folder(path):
        return path / WEIGHTS_FILE
    if _is_there(path) and path.is_dir():
        raise WeightsError(
            f"folder {str(path)!r:.200} has no file {WEIGHTS_FILE}, and only the folder of a training run is a source "
            "of weights",
            "give a folder that `nas train` wrote, or a weights file",
        )
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # The name is too long, or contains a null character.
        return False


def checkpoint_name(path: Path) -> str:
    """Return the name of the network in a weights file: that of the file, or of the folder of a training run.

    >>> checkpoint_name(Path("mine.safetensors")), checkpoint_name(Path("mine-trained/weights.safetensors"))
    ('mine', 'mine-trained')
    """
    # All training runs name their files alike, so only the folder names the network.
    return path.absolute().parent.name if path.name in (WEIGHTS_FILE, LAST_FILE) else path.stem
