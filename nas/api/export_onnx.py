"""Export as ONNX files, fp32 and int8: built, checked and measured on the device."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import frozen

from nas.api.export_check import check_file
from nas.api.export_images import ExportData, find_data
from nas.api.export_int8 import INT8_FILE, check_int8, decide, make_int8
from nas.api.export_records import NO_IMAGES, baseline_record, make_product, model_record
from nas.api.export_request import ExportRequest
from nas.api.export_source import NamedNetwork, Say
from nas.data.wording import counted
from nas.device.connection import Connection
from nas.device.machine import Machine
from nas.device.model_file import ModelFile
from nas.device.spec import Device
from nas.device.timing import Turns
from nas.export.built import BuiltFile, build_file
from nas.export.form import fastest_form
from nas.export.graph import export_graph
from nas.export.inputs import InputForm
from nas.export.quantization.speed import SpeedUp, speed_up_of
from nas.export.records import Accuracy, Latency, ModelRecord, Product
from nas.export.target import Target
from nas.graph.build import OPERATORS, Operators
from nas.graph.variants import STANDARD

FP32_FILE, BASELINE = "model.onnx", "baseline"


def export_onnx(
    request: ExportRequest, named: NamedNetwork, other: NamedNetwork | None, say: Say
) -> tuple[Product, Mapping[str, bytes]]:
    """Return the product of a network as ONNX files, and the files by name.

    Args:
        request: What is asked for.
        named: The network.
        other: Another network that is measured beside it; None for none.
        say: Function that is called with sentences about the progress.

    Raises:
        NasError: As `nas.export_model` raises it.
    """
    data = find_data(request, named, say)
    check_int8(request, data)
    other_data = find_data(request, other, say, data) if other and data else None
    with Connection(request.address) as connection:
        builder = _Builder(request, Target(connection), say)
        built = builder.fastest(InputForm(named.network, request.preprocess))
        # Before any accuracy is measured: a device that cannot run the other network says so here.
        beside = builder.standard(InputForm(other.network, request.preprocess)) if other else None
        agreement = check_file(built.file, built.form, builder.target, data, say)
        int8 = make_int8(request, built, builder.target, data, say)
        files = {FP32_FILE: built.file, INT8_FILE: int8.file, BASELINE: beside.file if beside else None}
        turns = builder.measure({name: file for name, file in files.items() if file})
        models = [_record(built, builder.accuracy(built, data), turns.latency(FP32_FILE), agreement)]
        baseline = None
        if other and beside:
            accuracy = builder.accuracy(beside, other_data)
            baseline = baseline_record(
                other, len(beside.file.data), accuracy, turns.latency(BASELINE), beside.peak_bytes
            )
    contents = {FP32_FILE: built.file.data}
    int8 = decide(request, int8, turns.speed_up() if int8.file else None)
    if int8.file and int8.is_kept:
        contents[INT8_FILE] = int8.file.data
        models.append(int8.record(named.network.arch, turns.latency(INT8_FILE)))
    notes = (*(() if data else (NO_IMAGES,)), *int8.notes)
    return make_product(request, named, models, data, baseline=baseline, int8=int8.report, notes=notes), contents


@frozen
class _InTurn:
    """Hold a measurement of several files in turn.

    Attributes:
        names: Names of the files, in their order.
        turns: The measurement.
        device: How the files ran.
        machine: Machine that they ran on.
    """

    names: tuple[str, ...]
    turns: Turns
    device: Device
    machine: Machine

    def latency(self, name: str) -> Latency:
        """Return the latency of a file."""
        return Latency.of(self.turns, self.names.index(name), self.device, self.machine)

    def speed_up(self) -> SpeedUp:
        """Return how many times as fast the int8 file is as the fp32 file."""
        fp32, int8 = map(self.names.index, (FP32_FILE, INT8_FILE))
        return speed_up_of(self.turns, self.machine.cpu, fp32=fp32, int8=int8)


@frozen
class _Builder:
    """Build files for a device and measure them there.

    Attributes:
        request: What is asked for.
        target: The device.
        say: Function that is called with sentences about the progress.
    """

    request: ExportRequest
    target: Target
    say: Say

    def fastest(self, form: InputForm) -> BuiltFile:
        """Return a network as the file that is fastest on the device."""
        standard = self.standard(form)  # First, because it is quick and fails where the device fails.
        build = partial(export_graph, form.network, self.request.fixed_batch, self.request.preprocess)
        choice = fastest_form(build, self.target.connection)
        for each in choice.times:
            self.say(f"{each.name}: {each.ratio:.3f} ± {each.spread:.3f} times the latency of the standard form")
        if choice.name == STANDARD:
            return standard
        self.say(f"the file has the form that is fastest on the device: {choice.name}")
        return self._build(form, choice.operators, choice.name)

    def standard(self, form: InputForm) -> BuiltFile:
        """Return a network as a file of the standard form."""
        return self._build(form, OPERATORS, STANDARD)

    def _build(self, form: InputForm, operators: Operators, variant: str) -> BuiltFile:
        return build_file(form, self.request.fixed_batch, operators, variant, FP32_FILE, self.target)

    def measure(self, files: Mapping[str, ModelFile]) -> _InTurn:
        """Return the latencies of files by name, which are measured in turn."""
        connection = self.target.connection
        self.say(f"latency: {counted(len(files), 'file')} on {connection.device.short}")
        turns = self.target.measure(list(files.values()))
        if turns.noisy:
            self.say("other programs disturb the device; the spread of the latencies shows how much")
        return _InTurn(tuple(files), turns, connection.device, connection.machine)

    def accuracy(self, built: BuiltFile, data: ExportData | None) -> Accuracy | None:
        """Return the accuracy of a file on the test split; None without images."""
        if data is None:
            return None
        self.say(f"accuracy: {len(data.test):,} test images of {data.source} on the device")
        return data.accuracy(self.target.logits(built.file, built.form, data.test))


def _record(built: BuiltFile, accuracy: Accuracy | None, latency: Latency, agreement: Mapping[str, Any]) -> ModelRecord:
    return model_record(
        built.file,
        "fp32",
        built.form.network.arch,
        accuracy=accuracy,
        latency=latency,
        peak_bytes=built.peak_bytes,
        agreement=agreement,
        graph=built.graph,
    )
