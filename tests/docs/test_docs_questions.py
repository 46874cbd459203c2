"""Each question of a new user has its answer on a page."""

import pytest

from tests.docs.questions import ANSWERS, line_of


@pytest.mark.parametrize("question", ANSWERS)
def test_a_page_answers_the_question(question: str) -> None:
    page, phrase = ANSWERS[question]
    assert line_of(page, phrase) is not None
