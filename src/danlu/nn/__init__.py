"""The mathematics of networks: activations, initializers, layers, losses, backpropagation."""

from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.attention import LearnedPositions, MultiHeadAttention, PerToken, SinusoidalPositions
from danlu.nn.augment import (
    CutMix,
    MixUp,
    MoveBoxes,
    MoveMasks,
    OneOf,
    RandomAffine,
    RandomChange,
    RandomChoice,
    RandomColor,
    RandomErase,
    RandomFlip,
    Rescale,
    rand_augment,
)
from danlu.nn.blend import Blend
from danlu.nn.combine import Activation, Flatten, Parallel, Residual, Sequential
from danlu.nn.conv import Conv, ConvTranspose
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.ensemble import Ensemble
from danlu.nn.forecast import Forecaster
from danlu.nn.forest import Forest
from danlu.nn.frozen import Frozen
from danlu.nn.fusion import Fusion
from danlu.nn.group_norm import GroupNorm
from danlu.nn.initializers import INITIALIZERS, Initializer, get_initializer, initializer_for
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.lora import LoRA
from danlu.nn.losses import LOSSES, Loss, get_loss, get_metric
from danlu.nn.masked import Masked, Moving
from danlu.nn.mlp import MLP
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.nn.pool import AdaptiveAveragePool, AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from danlu.nn.quantized import Quantized
from danlu.nn.recurrent import (
    GRU,
    LSTM,
    Bidirectional,
    BiLSTMClassifier,
    CharRNN,
    MaxOverTime,
    SimpleRNN,
    ZeroPadding,
    mask_from_lengths,
    pad,
    stream,
)
from danlu.nn.remat import Remat
from danlu.nn.reshape import Reshape
from danlu.nn.rms_norm import RMSNorm
from danlu.nn.scorecard import Scorecard
from danlu.nn.similarity import SumOfParts, UnitLength
from danlu.nn.spectral_norm import SpectralNorm
from danlu.nn.squeeze_excite import SqueezeExcite
from danlu.nn.summary import Summary, summary
from danlu.nn.swiglu import SwiGLU
from danlu.nn.table_embeddings import CategoricalEmbedding, NumericEmbedding
from danlu.nn.table_linear import TableLinear
from danlu.nn.tabular import TabularNet
from danlu.nn.text_cnn import TextCNN
from danlu.nn.transformer import (
    BERT,
    GPT,
    ClassToken,
    EncoderDecoder,
    FeedForward,
    Patches,
    Pool,
    Segments,
    Sublayer,
    Tied,
    Transformer,
    TransformerBlock,
    ViT,
    cached_step,
    generate,
    init_cache,
)
from danlu.nn.two_towers import TwoTowers
from danlu.nn.vision import ConvNeXt, Detector, LayerScale, LeNet, ResNet, UNet

__all__ = [
    "ACTIVATIONS",
    "BERT",
    "GPT",
    "GRU",
    "INITIALIZERS",
    "LOSSES",
    "LSTM",
    "MLP",
    "Activation",
    "AdaptiveAveragePool",
    "AveragePool",
    "BatchNorm",
    "BiLSTMClassifier",
    "Bidirectional",
    "Blend",
    "CategoricalEmbedding",
    "CharRNN",
    "ClassToken",
    "Conv",
    "ConvNeXt",
    "ConvTranspose",
    "CutMix",
    "Dense",
    "Detector",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "Ensemble",
    "FeedForward",
    "Flatten",
    "Forecaster",
    "Forest",
    "Frozen",
    "Fusion",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNorm",
    "Initializer",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "LeNet",
    "LearnedPositions",
    "LoRA",
    "Loss",
    "Masked",
    "MaxOverTime",
    "MaxPool",
    "MixUp",
    "MoveBoxes",
    "MoveMasks",
    "Moving",
    "MultiHeadAttention",
    "NumericEmbedding",
    "OneOf",
    "Parallel",
    "Patches",
    "PerToken",
    "Pool",
    "Quantized",
    "RMSNorm",
    "RandomAffine",
    "RandomChange",
    "RandomChoice",
    "RandomColor",
    "RandomErase",
    "RandomFlip",
    "Remat",
    "ResNet",
    "Rescale",
    "Reshape",
    "Residual",
    "Scorecard",
    "Segments",
    "Sequential",
    "SimpleRNN",
    "SinusoidalPositions",
    "SpectralNorm",
    "SqueezeExcite",
    "Sublayer",
    "SumOfParts",
    "Summary",
    "SwiGLU",
    "TableLinear",
    "TabularNet",
    "TextCNN",
    "Tied",
    "Transformer",
    "TransformerBlock",
    "TwoTowers",
    "UNet",
    "UnitLength",
    "ViT",
    "ZeroPadding",
    "cached_step",
    "generate",
    "get_activation",
    "get_initializer",
    "get_loss",
    "get_metric",
    "init_cache",
    "initializer_for",
    "lift",
    "mask_from_lengths",
    "pad",
    "rand_augment",
    "stream",
    "summary",
]
