"""Known networks that a network of one's own is compared with, as records with ONNX graphs, without torch.

`nas.zoo.catalog.zoo_names` lists them and `zoo_network` returns one; `nas.zoo.table.markdown_table` returns all of them
as a table. They are LeNet-5, AlexNet, VGG-16, GoogLeNet, Inception-V3, ResNet-18, ResNet-50, ResNet-152,
SqueezeNet 1.1, Wide-ResNet-50-2, DenseNet-121, Xception, ResNeXt-50, MobileNetV1, NASNet-A-Mobile, SE-ResNet-50,
MobileNetV2, ShuffleNet V2, MnasNet-A1, MobileNetV3, EfficientNet-B0, BiT R50x1, ViT-B/16, MLP-Mixer-B/16 and
MobileNetV4-Conv-Small.

Parameters and MACs are exact. One multiply-add is one MAC; those of convolutions and of matrix products count, and
among them the two products of attention. Normalization, biases, activations and pooling do not count.
"""
