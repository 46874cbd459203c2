"""Accuracy by weights that all networks of a space share."""
