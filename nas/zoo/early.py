"""Sequences of convolutions: LeNet-5, AlexNet, VGG-16 and SqueezeNet."""

from nas.zoo.records import Block, Conv, Flatten, GlobalAverage, Linear, Parallel, Pool


def _conv(channels: int, kernel: int, stride: int = 1, padding: int | None = None, activation: str = "relu") -> Conv:
    return Conv(channels, kernel, stride, padding, offset="bias", activation=activation)


_SUBSAMPLE = Pool("average", 2, 2)
# Figure 2 of LeCun et al. 1998. C3 reads all maps of S2, subsampling has no weights, and the output is a linear layer.
LENET_5: Block = (
    _conv(6, 5, padding=0, activation="tanh"),
    _SUBSAMPLE,
    _conv(16, 5, padding=0, activation="tanh"),
    _SUBSAMPLE,
    _conv(120, 5, padding=0, activation="tanh"),
    Flatten(),
    Linear(84, "tanh"),
    Linear(10),
)

_HALVE = Pool("max", 3, 2)
# arXiv 1404.5997 as in torchvision: one column, without local response normalization.
ALEXNET: Block = (
    _conv(64, 11, 4, 2),
    _HALVE,
    _conv(192, 5),
    _HALVE,
    _conv(384, 3),
    _conv(256, 3),
    _conv(256, 3),
    _HALVE,
    Flatten(),
    Linear(4096, "relu"),
    Linear(4096, "relu"),
    Linear(1000),
)


def _vgg_stage(channels: int, layers: int) -> Block:
    return (*(_conv(channels, 3),) * layers, Pool("max", 2, 2))


# Table 1 of arXiv 1409.1556, configuration D.
VGG_16: Block = (
    _vgg_stage(64, 2),
    _vgg_stage(128, 2),
    _vgg_stage(256, 3),
    _vgg_stage(512, 3),
    _vgg_stage(512, 3),
    Flatten(),
    Linear(4096, "relu"),
    Linear(4096, "relu"),
    Linear(1000),
)


def _fire(squeezed: int, expanded: int) -> Block:
    return _conv(squeezed, 1), Parallel((_conv(expanded, 1), _conv(expanded, 3)))


_SHRINK = Pool("max", 3, 2, ceil=True)
# Table 1 of arXiv 1602.07360 with the changes of version 1.1 in the authors' repository.
SQUEEZENET_1_1: Block = (
    _conv(64, 3, 2, 0),
    _SHRINK,
    _fire(16, 64),
    _fire(16, 64),
    _SHRINK,
    _fire(32, 128),
    _fire(32, 128),
    _SHRINK,
    _fire(48, 192),
    _fire(48, 192),
    _fire(64, 256),
    _fire(64, 256),
    _conv(1000, 1),
    GlobalAverage(),
    Flatten(),
)
