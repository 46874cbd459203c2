"""The questions at the top of a report page and their answers, as plain sentences computed from a study."""

from nas.report.page.answer import Answer
from nas.report.page.asked import asked
from nas.report.page.certainty import certainty
from nas.report.page.choice import choice
from nas.report.page.device_cost import device_cost
from nas.studies.records import StudyView


def answers(view: StudyView, storage: str, *, is_active: bool = False) -> tuple[Answer, ...]:
    """Return the answers of a study.

    Args:
        view: The study.
        storage: URL of its database, for the commands.
        is_active: Whether a process is searching.
    """
    return (asked(view, is_active=is_active), choice(view, storage), certainty(view), device_cost(view))
