"""Scores of networks without training."""
