"""A question at the top of a report page, and its answer."""

from attrs import frozen

from nas.report.section import Table


@frozen
class Answer:
    """Hold a question and its answer. All texts are plain; the page escapes them.

    Attributes:
        question: The question, which is the title of its part of the page.
        sentences: The answer, the most important sentence first.
        tables: Values that the answer rests on.
        commands: What can be done next, each with the command for it.
    """

    question: str
    sentences: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
