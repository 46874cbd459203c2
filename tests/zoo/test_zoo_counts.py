"""Tests of the known networks' parameters and MACs against counts of other implementations and of papers."""

import pytest

from nas.errors import ArchitectureError
from nas.zoo.catalog import zoo_names, zoo_network

# Name, parameters and multiply-adds as `test_zoo_references.py` counts them on the models of torchvision 0.28.0 (TV),
# timm 1.0.31 (T) and pretrainedmodels 0.7.4 (P). LeNet-5 is worked out below.
_COUNTS = [
    ("alexnet", 61_100_840, 714_188_480),  # TV alexnet
    ("vgg-16", 138_357_544, 15_470_264_320),  # TV vgg16
    ("googlenet", 6_624_904, 1_498_376_192),  # TV googlenet(aux_logits=False)
    ("inception-v3", 23_834_568, 5_713_216_096),  # TV inception_v3(aux_logits=False)
    ("resnet-18", 11_689_512, 1_814_073_344),  # TV resnet18
    ("resnet-50", 25_557_032, 4_089_184_256),  # TV resnet50
    ("resnet-152", 60_192_808, 11_513_626_624),  # TV resnet152
    ("squeezenet-1.1", 1_235_496, 349_151_936),  # TV squeezenet1_1
    ("wide-resnet-50-2", 68_883_240, 11_398_021_120),  # TV wide_resnet50_2
    ("densenet-121", 7_978_856, 2_834_161_664),  # TV densenet121
    ("xception", 22_855_952, 8_357_403_496),  # T legacy_xception
    ("resnext-50-32x4d", 25_028_904, 4_230_479_872),  # TV resnext50_32x4d
    ("mobilenetv1", 4_231_976, 568_740_352),  # T mobilenetv1_100
    ("nasnet-a-mobile", 5_289_978, 563_638_816),  # P nasnetamobile, without the pixels that it computes and cuts off
    ("se-resnet-50", 28_088_024, 4_091_699_200),  # T seresnet50
    ("mobilenetv2", 3_504_872, 300_774_272),  # TV mobilenet_v2
    ("shufflenet-v2-1.0", 2_278_604, 144_907_992),  # TV shufflenet_v2_x1_0
    ("mnasnet-a1", 3_887_038, 311_579_072),  # T semnasnet_100
    ("mobilenetv3-large", 5_483_032, 216_589_760),  # TV mobilenet_v3_large
    ("mobilenetv3-small", 2_542_856, 56_510_400),  # TV mobilenet_v3_small
    ("efficientnet-b0", 5_288_548, 385_814_752),  # TV efficientnet_b0
    ("bit-r50x1", 25_549_352, 4_089_184_256),  # T resnetv2_50x1_bit
    ("vit-b-16", 86_567_656, 17_563_828_224),  # T vit_base_patch16_224
    ("mlp-mixer-b-16", 59_880_472, 12_601_767_936),  # T mixer_b16_224
    ("mobilenetv4-conv-small", 3_774_024, 186_005_568),  # T mobilenetv4_conv_small
]
# Name, parameters and GMACs as torchvision's documentation publishes them.
_PUBLISHED = [
    ("alexnet", 61_100_840, "0.714"),
    ("vgg-16", 138_357_544, "15.470"),
    ("googlenet", 6_624_904, "1.498"),
    ("inception-v3", None, "5.713"),  # The parameters are published with the auxiliary head.
    ("resnet-18", 11_689_512, "1.814"),
    ("resnet-50", 25_557_032, "4.089"),
    ("resnet-152", 60_192_808, "11.514"),
    ("squeezenet-1.1", 1_235_496, "0.349"),
    ("wide-resnet-50-2", 68_883_240, "11.398"),
    ("densenet-121", 7_978_856, "2.834"),
    ("resnext-50-32x4d", 25_028_904, "4.230"),
    ("shufflenet-v2-1.0", 2_278_604, "0.145"),
    ("vit-b-16", 86_567_656, "17.564"),
]


@pytest.mark.parametrize(("name", "params", "macs"), _COUNTS)
def test_parameters_and_macs_are_those_of_other_implementations(name: str, params: int, macs: int) -> None:
    network = zoo_network(name)
    assert (network.params, network.macs) == (params, macs)


@pytest.mark.parametrize(("name", "params", "gmacs"), _PUBLISHED)
def test_parameters_and_macs_are_those_that_torchvision_publishes(name: str, params: int | None, gmacs: str) -> None:
    network = zoo_network(name)
    assert params is None or network.params == params
    assert f"{network.macs / 1e9:.3f}" == gmacs


def test_lenet_has_the_parameters_and_macs_of_its_layers() -> None:
    lenet = zoo_network("lenet-5")
    kernels = {"C1": (6, 1, 28), "C3": (16, 6, 10), "C5": (120, 16, 1)}
    matrices = [(84, 120), (10, 84)]
    assert lenet.params == sum(out * (25 * into + 1) for out, into, _ in kernels.values()) + sum(
        out * (into + 1) for out, into in matrices
    )
    assert lenet.macs == sum(out * 25 * into * side**2 for out, into, side in kernels.values()) + sum(
        out * into for out, into in matrices
    )
    assert lenet.shape == (1, 32, 32)
    assert lenet.classes == 10


def test_nasnet_has_the_multiply_adds_and_parameters_of_its_paper() -> None:
    nasnet = zoo_network("nasnet-a-mobile")
    assert f"{nasnet.macs / 1e6:.0f}M {nasnet.params / 1e6:.1f}M" == "564M 5.3M"


def test_attention_counts_its_two_products() -> None:
    """A ViT has them in each of 12 layers: 197 tokens with each other, over 768 features, twice."""
    vit = zoo_network("vit-b-16")
    products = [node.outcome.macs for node in vit.nodes if type(node.record).__name__ == "Products"]
    assert products == [2 * 197 * 197 * 768] * 12


def test_every_network_but_one_for_digits_has_a_published_accuracy_with_its_source() -> None:
    without = [name for name in zoo_names() if zoo_network(name).published_top1 is None]
    assert without == ["lenet-5"]
    for name in set(zoo_names()) - set(without):
        published = zoo_network(name).published_top1
        assert published is not None
        assert 50 < published.value < 90
        assert published.source


def test_names_are_in_the_order_of_years_and_titles_differ() -> None:
    networks = [zoo_network(name) for name in zoo_names()]
    assert [network.name for network in networks] == list(zoo_names())
    assert [network.year for network in networks] == sorted(network.year for network in networks)
    assert len({network.title for network in networks}) == len(networks) == 26


def test_an_unknown_network_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ArchitectureError, match="no known network is called 'resnet'\n") as error:
        zoo_network("resnet")
    assert all(name in str(error.value) for name in zoo_names())


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, None])
def test_a_batch_is_a_whole_number_of_images(batch: object) -> None:
    with pytest.raises(ArchitectureError, match="use a whole number of images from 1"):
        zoo_network("lenet-5").onnx(batch=batch)  # type: ignore[arg-type]


def test_an_unknown_name_gets_the_closest_known_one() -> None:
    with pytest.raises(ArchitectureError) as error:
        zoo_network("squezenet")
    assert error.value.remedy.startswith("did you mean squeezenet-1.1? the known networks are lenet-5, ")
