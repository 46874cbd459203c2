"""`nas.inherit_weights`: what a network inherits, and its accuracy before any further training."""

import attrs
import pytest
import torch

import nas
from nas.data.base import Images
from nas.errors import NasError, WeightsError
from nas.noise import ValidationSplit, estimate
from nas.train.prediction import Predictor
from tests.weights.digits import GRAY, accuracy, digits, digits_network, pixels
from tests.weights.networks import network

DEEPER = nas.scale(digits_network().arch, 1, "depth").architecture


def test_a_network_with_more_layers_has_the_accuracy_of_its_source_before_any_training() -> None:
    source = digits_network()
    grown = nas.inherit_weights(source, DEEPER, data="digits")
    expected = accuracy(source)
    assert grown.exact
    assert grown.accuracy is not None
    assert expected > 0.6
    assert grown.accuracy.source.value == grown.accuracy.network.value == expected == accuracy(grown.network)
    assert grown.accuracy.difference.value == 0
    split = ValidationSplit(359, 0.0, 359.0)
    assert grown.accuracy.network == estimate(expected, split.standard_error(expected))
    assert (grown.network.classes, grown.network.normalization) == (source.classes, source.normalization)
    assert grown.network.provenance["source"] == "least squares"
    assert grown.network.provenance["inherited"].endswith("and the function of the source is kept")


def test_statistics_are_estimated_again_on_images_where_the_function_is_approximate() -> None:
    source = digits_network()
    smaller = nas.scale(source.arch, -1).architecture
    grown, old = nas.inherit_weights(source, smaller, data="digits"), nas.inherit_weights(source, smaller)
    assert not grown.exact
    assert grown.accuracy is not None
    assert grown.accuracy.network.value == accuracy(grown.network)
    assert "estimated again on 1,000 training images of digits" in grown.network.provenance["batch-norm statistics"]
    assert (old.accuracy, "batch-norm statistics" in old.network.provenance) == (None, False)
    assert "those of the source" in old.note
    tensors, before = grown.network.tensors, old.network.tensors
    changed = {name for name in tensors if not tensors[name].equal(before[name])}
    assert changed - {name for name in tensors if name.endswith("num_batches_tracked")} == {
        name for name in tensors if name.endswith(("running_mean", "running_var"))
    }


def test_other_classes_have_no_accuracy() -> None:
    source = digits_network()
    renamed = attrs.evolve(source, classes=("zero", *(source.classes or ())[1:]))
    found = nas.inherit_weights(renamed, DEEPER, data="digits")
    assert (found.accuracy, found.note.partition(",")[0]) == (
        None,
        "digits has a class '0' where the source has 'zero'",
    )
    fewer = DEEPER.adapted(resolution=DEEPER.resolution, classes=4)
    found = nas.inherit_weights(source, fewer, data="digits")
    assert (found.accuracy, found.network.classes) == (None, None)
    assert found.note.startswith("The network has 4 classes and its source 10, so no accuracy can be measured")
    found = nas.inherit_weights(attrs.evolve(source, arch=DEEPER, tensors=nas.to_torch(DEEPER).state_dict()), fewer)
    assert "estimate them again" in found.note


def test_classes_without_names_count_as_those_of_the_images() -> None:
    found = nas.inherit_weights(attrs.evolve(digits_network(), classes=None), DEEPER, data="digits")
    assert found.accuracy is not None
    assert found.accuracy.network.value == accuracy(digits_network())
    assert (
        found.note == "The names of the source's classes are unknown; they count as those of digits in the same order."
    )


def test_gray_images_of_one_channel_have_the_accuracy_of_three() -> None:
    source = digits_network()
    found = nas.inherit_weights(source, attrs.evolve(source.arch, in_channels=1), data="digits")
    assert found.network.normalization == nas.Normalization(GRAY.mean[:1], GRAY.std[:1])
    assert found.accuracy is not None
    # The batch-norm statistics are those of 1,000 images now.
    assert abs(found.accuracy.difference.value) < 0.05


def test_gates_that_are_removed_are_replaced_by_their_means_over_images() -> None:
    gated = digits_network(network("net classes=10 resolution=16;stem conv c8 s2;mbconv r2 e2 c8 se0.5;head pool"))
    plain = attrs.evolve(gated.arch, stages=tuple(attrs.evolve(stage, gate=None) for stage in gated.arch.stages))
    assert "their measured means" in nas.inherit_weights(gated, plain, data="digits").report
    assert "their values for an input of 0" in nas.inherit_weights(gated, plain).report


def test_what_is_no_network_or_has_no_normalization_is_refused() -> None:
    source = digits_network()
    with pytest.raises(WeightsError, match="is not a TrainedNetwork"):
        nas.inherit_weights("efficientnet-lite0", DEEPER)  # type: ignore[arg-type]
    with pytest.raises(NasError, match="is not an Architecture"):
        nas.inherit_weights(source, "b0")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="normalization of the images of the source is unknown"):
        nas.inherit_weights(attrs.evolve(source, normalization=None), DEEPER, data="digits")


def test_batches_of_any_size_give_the_same_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, images = digits_network(), digits(16).val
    monkeypatch.setattr("nas.train.prediction.val_batch_size", lambda _resolution: 50)
    found = Predictor(GRAY, "cpu").correct(trained.module(), images)
    with torch.no_grad():
        expected = trained.module()(GRAY.apply(pixels(images))).argmax(1) == images.labels
    assert found.tolist() == expected.tolist()


def test_statistics_do_not_depend_on_the_order_of_classes() -> None:
    """The mean of the variances of batches of one class each would be smaller than the variance of all images."""
    trained, train = digits_network(), digits(16).train
    order = train.labels.argsort()
    first, second = trained.module(), trained.module()
    predictor = Predictor(GRAY, "cpu")
    assert predictor.re_estimate(first, Images(train.images[order][:1000], train.labels[order][:1000])) == 1000
    with torch.no_grad():
        second.train()(GRAY.apply(pixels(Images(train.images[order][:1000], train.labels[order][:1000]))))
        images = GRAY.apply(pixels(train)[order][:1000])
        outputs = second.get_submodule("stem.conv.conv")(images)
    name = "stem.conv.norm.running_var"
    torch.testing.assert_close(first.state_dict()[name], outputs.var((0, 2, 3)), rtol=0.02, atol=0)
