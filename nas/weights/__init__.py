"""Weights of networks: pretrained sources, files, and inheritance between architectures."""
