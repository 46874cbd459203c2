"""The help text of `--device`."""

DEVICE_HELP = (
    "The target device: cpu, cpu:threads=4,batch=8, cuda, cpu:precision=int8, an ONNX Runtime provider's name, or "
    "ssh://user@host?cpu. Several equal ones share the work."
)
