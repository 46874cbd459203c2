"""Names of studies."""

from nas.errors import StudyError


def check_study_name(name: str) -> None:
    """Check that databases can store a name.

    Raises:
        StudyError: The name is not UTF-8 text.

    Example:
        >>> check_study_name("café")
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise StudyError(
            f"the name of the study is {name!r}, which is not UTF-8 text; databases store names as UTF-8",
            "choose another name",
        ) from None
