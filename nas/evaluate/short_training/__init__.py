"""Accuracy by a short training on the user's images."""
