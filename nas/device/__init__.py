"""What runs on the target device: timing in ONNX Runtime, and the agent that is asked for it."""
