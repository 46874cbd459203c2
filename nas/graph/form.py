"""The form of the ONNX graphs that this version writes, on which latencies depend."""

# On the CPU, ONNX Runtime 1.32 has a slow kernel for the AveragePool of opset 19 and later where the channels do not
# fit the blocked memory layout of its convolutions: a layer with a pooling skip takes 4 times as long as with opset 17
# or 18, and a network with such layers up to 1.47 times (experiments/kernels). Opset 18 is the first one that can
# resize images with an antialiasing filter.
OPSET = 18
# A number for the choice of operators in `nas.graph.build`, which is increased with every change of this choice: stored
# latencies of another choice are then no longer used.
_OPERATORS = 1
FORM = f"opset{OPSET} operators{_OPERATORS}"
UNNAMED_FORM = "opset20 operators1"
"""The form of the latencies that were stored before their form was stored with them."""
