"""Search spaces by their names or files."""

from collections.abc import Mapping
from pathlib import Path

from nas.api.arguments import check_arguments
from nas.space.decode import SearchSpace
from nas.space.files import find_space

__all__ = ["SearchSpace", "load_space"]


@check_arguments
def load_space(
    name: str | Path,
    *,
    resolution: int | None = None,
    classes: int | None = None,
    fix: Mapping[str, object] | None = None,
) -> SearchSpace:
    """Load a search space.

    Args:
        name: Name of a shipped search space ("mnasnet", "efficientnet", "mobilenetv3" or "nasbench_macro"), or the
            path of a YAML file.
        resolution: Height and width of the images of the target task in pixels; by default those of the space.
        classes: Number of classes of the target task; by default those of the space.
        fix: Choices that are fixed, for example `{"stage1.kernel": 3}`.

    Returns:
        The search space: a frozen value. `size` is its number of combinations, `choices` are its open choices.

    Raises:
        SpaceError: There is no such space, choice or option, or the file breaks a rule.

    >>> import nas
    >>> space = nas.load_space("mnasnet")
    >>> len(space.choices), space.size == 432**7
    (42, True)
    >>> nas.load_space("mnasnet", fix={"stage1.kernel": 3}).size == space.size // 2
    True
    """
    space = find_space(str(name)).for_target(resolution=resolution, classes=classes)
    return space.fix({choice: str(option) for choice, option in (fix or {}).items()})
