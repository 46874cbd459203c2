"""The form of the ONNX graphs that this version writes, on which latencies depend."""

# ONNX Runtime 1.32 computes operators of opsets 7 to 18 with the same kernels, but has no AveragePool of opset 19 or
# later in the blocked memory layout of its convolutions: a pooling of 24 channels at 112 x 112 pixels takes 5.4 times
# as long, and networks with pooling skips up to 1.37 times (experiments/kernels). Opset 18 is the first one that can
# resize images with an antialiasing filter.
OPSET = 18
# A number for the choice of operators in `nas.graph.build`, which is increased with every change of this choice: stored
# latencies of another choice are then no longer used.
_OPERATORS = 1
FORM = f"opset{OPSET} operators{_OPERATORS}"
UNNAMED_FORM = "opset20 operators1"
"""The form of the latencies that were stored before their form was stored with them."""
