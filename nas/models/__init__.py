"""Architectures as torch modules."""
