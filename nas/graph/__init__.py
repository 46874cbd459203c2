"""Architectures as ONNX graphs, without torch."""
