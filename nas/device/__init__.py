"""Holds the code that runs on the target device: timing in ONNX Runtime, and the agent that serves requests for it."""
