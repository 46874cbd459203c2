"""Texts that can only name weights."""

import pytest

from nas.weights import sources
from nas.weights.forms import FILE_ENDINGS, LIBRARIES, names_weights


@pytest.mark.parametrize("text", ["timm:resnet18", "hub:timm/b0", "a.pth", "folder/B.SAFETENSORS", "x:y.pt"])
def test_a_library_or_the_ending_of_a_file_names_weights(text: str) -> None:
    assert names_weights(text)


@pytest.mark.parametrize("text", ["efficientnet-lite0", "a.txt", "b.json", "timm:", "study:demo", "study:demo.pth", ""])
def test_architectures_have_other_names(text: str) -> None:
    assert not names_weights(text)


def test_every_form_is_read() -> None:
    assert set(LIBRARIES) == {*sources.PREFIXES}
    assert all(ending in sources.FORMS for ending in FILE_ENDINGS)
