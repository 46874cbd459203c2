"""Search spaces by their names or files, and around a network."""

from collections.abc import Mapping
from pathlib import Path

from nas.api.architectures import check_architecture, file_stem, find_architecture
from nas.api.arguments import check_arguments
from nas.api.weights import load_weights
from nas.arch.presets import preset_names
from nas.arch.spec import Architecture
from nas.space import files
from nas.space.around import around, around_text
from nas.space.decode import SearchSpace
from nas.studies.defaults import DEFAULT_STORAGE
from nas.weights.checkpoints import checkpoint_name, find_weights_file
from nas.weights.forms import names_file

__all__ = ["SearchSpace", "find_space", "load_space", "space_around", "space_text_around"]

AROUND = "around:"


@check_arguments
def load_space(
    name: str | Path,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    fix: Mapping[str, object] | None = None,
    storage: str = DEFAULT_STORAGE,
) -> SearchSpace:
    """Load a search space.

    Args:
        name: Name of a shipped search space ("mnasnet", "efficientnet", "mobilenetv3" or "nasbench_macro"), the path
            of a YAML file, or "around:" and an architecture as `load_architecture` takes it.
        resolution: Height and width of the images of the target task in pixels; by default those of the space. It
            takes the place of a choice of resolutions.
        classes: Number of classes of the target task; by default those of the space.
        fix: Choices that are fixed, for example `{"stage1.kernel": 3}`.
        storage: Optuna URL of the database that holds the study of a network that the space is around.

    Returns:
        The search space: a frozen value. `size` is its number of combinations, `choices` are its open choices.

    Raises:
        SpaceError: There is no such space, choice or option, or the file breaks a rule.
        ArchitectureError: There is no such architecture.
        StudyError: There is no such study or trial.

    >>> import nas
    >>> space = nas.load_space("mnasnet")
    >>> len(space.choices), space.size == 432**7
    (42, True)
    >>> nas.load_space("mnasnet", fix={"stage1.kernel": 3}).size == space.size // 2
    True
    >>> nas.load_space("around:efficientnet-lite0").resolutions
    (128, 160, 192, 224)
    """
    space = find_space(str(name), storage).for_target(resolution=resolution, classes=classes)
    return space.fix({choice: str(option) for choice, option in (fix or {}).items()})


def space_around(
    arch: Architecture, *, name: str = "network", grow: bool = False, faster_activation: str | None = None
) -> SearchSpace:
    """Return the search space around a network, which contains the network itself.

    Each stage has 2 layers less to 1 layer more, smaller expansions, kernels and numbers of channels, and the
    resolution is the network's own or a smaller one.

    Args:
        arch: The network.
        name: Name of the network; the space is called "around-" and this name.
        grow: Whether stages may also have a quarter more channels than the network.
        faster_activation: Activation that each stage may have instead of its own; None takes ReLU where the own one is
            slower on a CPU. The network's own adds no choice.

    Returns:
        The search space, as `load_space` returns it.

    Raises:
        ArchitectureError: `arch` is no architecture.
        SpaceError: A space cannot have so many stages, or the activation is unknown.

    >>> import nas
    >>> space = nas.space_around(nas.load_architecture("mobilenetv2"), name="mobilenetv2")
    >>> space.name, len(space.choices)
    ('around-mobilenetv2', 26)
    """
    check_architecture(arch)
    return around(arch, name=name, grow=grow, faster_activation=faster_activation)


def find_space(word: str, storage: str = DEFAULT_STORAGE) -> SearchSpace:
    """Return a shipped space, the space of a file, or the space around an architecture.

    Args:
        word: Name of a shipped space, path of a YAML file, or "around:" and a reference to an architecture.
        storage: Optuna URL of the database that holds the study of a network.

    Raises:
        NasError: There is no such space or architecture, or it breaks a rule.
    """
    if not word.startswith(AROUND):
        return files.find_space(word)
    arch, name, baselines = _find_source(word.removeprefix(AROUND), storage)
    return around(arch, name=name, baselines=baselines)


def space_text_around(reference: str, storage: str = DEFAULT_STORAGE, *, grow: bool = False) -> tuple[str, str]:
    """Return the name of a network and the search-space file of the space around it.

    Args:
        reference: Reference to an architecture.
        storage: Optuna URL of the database that holds the study of a network.
        grow: Whether stages may also have a quarter more channels than the network.

    Raises:
        NasError: There is no such architecture, or it breaks a rule.
    """
    arch, name, baselines = _find_source(reference, storage)
    return name, around_text(arch, name=name, grow=grow, baselines=baselines)


def _find_source(reference: str, storage: str) -> tuple[Architecture, str, tuple[str, ...]]:
    """Return an architecture, its name, and its name again if it is a preset.

    A file of weights, or a folder of a training run, stands for the network that it holds.
    """
    if names_file(reference):
        return load_weights(reference).arch, checkpoint_name(find_weights_file(Path(reference))), ()
    name, arch = find_architecture(reference, storage)
    return arch, file_stem(name), (name,) if name in preset_names() else ()
