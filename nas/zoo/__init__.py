"""The known networks that a network of one's own is compared with, as records, with ONNX graphs, without torch."""
