"""Tests of what `benchmarks/comparison.py` computes from runs of the command."""

import doctest

import comparison


def test_the_examples_of_phases_and_of_the_agreement_of_runs() -> None:
    tried = doctest.testmod(comparison)
    assert tried.attempted >= 2
    assert tried.failed == 0
