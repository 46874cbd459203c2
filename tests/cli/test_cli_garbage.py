"""Garbage collection is off while a study is read, and then as it was before."""

import gc

import pytest

from nas.cli.shared.garbage import without_collection


@pytest.mark.parametrize("was_enabled", [True, False])
def test_collection_is_off_in_the_block_and_then_as_before(was_enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was_enabled else gc.disable)()
        with without_collection():
            assert not gc.isenabled()
        assert gc.isenabled() == was_enabled
    finally:
        (gc.enable if before else gc.disable)()
