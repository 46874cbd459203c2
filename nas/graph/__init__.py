"""ONNX graphs of architectures, built without torch."""
