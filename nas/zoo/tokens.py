"""Networks of tokens: ViT-B/16 and MLP-Mixer-B/16."""

from nas.zoo.records import (
    LINEAR,
    Block,
    Conv,
    FirstToken,
    GlobalAverage,
    LayerNorm,
    Linear,
    Tokens,
    Transpose,
    attention,
    residual,
)

_FEATURES, _LAYERS = 768, 12
_PATCHES = Conv(_FEATURES, 16, 16, 0, offset="bias", activation=LINEAR)
_FEATURE_MLP: Block = (LayerNorm(), Linear(4 * _FEATURES, "gelu"), Linear(_FEATURES))

# Table 1 of arXiv 2010.11929, row ViT-Base, with patches of 16x16 pixels.
VIT_B_16: Block = (
    _PATCHES,
    Tokens(class_token=True, positions=True),
    (residual((LayerNorm(), attention(12, _FEATURES))), residual(_FEATURE_MLP)) * _LAYERS,
    LayerNorm(),
    FirstToken(),
    Linear(1000),
)

_COUNT = 196  # tokens of an image of 224 pixels
# Table 1 of arXiv 2105.01601, column B/16.
MLP_MIXER_B_16: Block = (
    _PATCHES,
    Tokens(),
    (
        residual((LayerNorm(), Transpose(), Linear(384, "gelu"), Linear(_COUNT), Transpose())),
        residual(_FEATURE_MLP),
    )
    * _LAYERS,
    LayerNorm(),
    GlobalAverage(),
    Linear(1000),
)
