"""Architectures as values: records, text, shapes."""
