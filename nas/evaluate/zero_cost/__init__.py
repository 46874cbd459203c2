"""Evaluators that score networks without training them."""
