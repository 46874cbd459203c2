"""An fp32 file of a network that its device runs."""

from attrs import frozen

from nas.device.model_file import ModelFile
from nas.export.graph import as_file, export_graph
from nas.export.inputs import InputForm
from nas.export.target import Target
from nas.graph.build import Operators
from nas.graph.form import OPSET


@frozen(eq=False)
class BuiltFile:
    """Hold an fp32 file that its device has run.

    Attributes:
        form: The network, and the inputs of the file.
        file: The file.
        graph: Operator set and operators for messages.
        peak_bytes: Growth of the peak memory of a fresh process that loads the file and runs one batch; None if the
            device does not report it.
    """

    form: InputForm
    file: ModelFile
    graph: str
    peak_bytes: int | None


def describe_form(variant: str) -> str:
    """Return the form of a graph for messages.

    >>> describe_form("standard")
    'opset 18, standard form'
    """
    return f"opset {OPSET}, {variant} form"


def build_file(
    form: InputForm, batch: int | None, operators: Operators, variant: str, name: str, target: Target
) -> BuiltFile:
    """Return a network as an fp32 file that the device has run once.

    Args:
        form: The network, and the inputs of the file.
        batch: Number of images of one run; None leaves it open.
        operators: Operators of the graph.
        variant: Name of the operators.
        name: Name of the file.
        target: The device.

    Raises:
        WeightsError: A batch is larger than any that a device runs.
        DeviceError: The device rejects an operator of the file, or has too little memory for a batch.
    """
    file = as_file(export_graph(form.network, batch, form.preprocess, operators), name)
    return BuiltFile(form, file, describe_form(variant), target.peak_bytes(file, form))
