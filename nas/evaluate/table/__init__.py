"""Accuracy from a table of recorded results."""
