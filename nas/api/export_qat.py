"""Fine-tuning of a network for its int8 file, where rounding the trained weights alone loses too much accuracy."""

from typing import TYPE_CHECKING

from nas.api.export_source import Say

if TYPE_CHECKING:
    from nas.data.base import ImageData
    from nas.device.model_file import ModelFile
    from nas.export.quantization.records import QuantizationInputs, QuantizedModel, Run
    from nas.weights.base import TrainedNetwork

EPOCHS = 3


def fine_tuned(
    found: "QuantizedModel",
    file: "ModelFile",
    network: "TrainedNetwork",
    images: "ImageData",
    inputs: "QuantizationInputs",
    run: "Run",
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    say: Say,
) -> "QuantizedModel":
    """Return an int8 graph of the network after fine-tuning, or the given one if it loses less on the choosing images.

    Args:
        found: Int8 graph of the trained weights.
        file: The network in fp32, to which the loss refers.
        network: The network.
        images: Images to train on.
        inputs: Images for choosing and for judging.
        run: Function that returns the logits of a graph on the device.
        epochs: Number of epochs.
        seed: Seed of the fine-tuning.
        say: Function that is called with sentences about the progress.

    Raises:
        EvaluationError: A loss is not finite.
    """
    from nas.export.graph import model_of
    from nas.export.quantization.graph import observed_tensors, rounded_parts, with_weights
    from nas.export.quantization.search import quantize_with_ranges
    from nas.graph.weights import folded_weights
    from nas.train.quantization_aware import LARGEST_7_BIT_WEIGHT, LARGEST_WEIGHT, Roundings, fine_tune_for_int8

    model, parts = model_of(file), rounded_parts(found.whole)
    largest = LARGEST_7_BIT_WEIGHT if found.settings.reduce_range else LARGEST_WEIGHT
    say(f"int8: the network is fine-tuned for {epochs} epochs with the roundings of its int8 file")
    roundings = Roundings(parts.ranges, parts.layers, largest)
    trained = fine_tune_for_int8(network, images, roundings, epochs=epochs, seed=seed, say=say)
    weights = folded_weights(trained.arch, {name: tensor.numpy() for name, tensor in trained.tensors.items()})
    read = observed_tensors(model).items()
    ranges = {name: parts.ranges[other] for name, other in read if other in parts.ranges}
    tuned = quantize_with_ranges(
        with_weights(model, weights), inputs, run, {"qat": ranges}, max_loss=found.max_loss, compared=model, say=say
    )
    return tuned if tuned.choosing_loss.value <= found.choosing_loss.value else found
