"""Weights of trained networks: their inheritance by other architectures, and batch-norm statistics."""
