"""The mathematics of networks: activations, initializers, layers, losses, backpropagation."""

from danlu.nn.activations import ACTIVATIONS, get_activation
from danlu.nn.combine import Activation, Flatten, Parallel, Residual, Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.initializers import INITIALIZERS, Initializer, get_initializer, initializer_for
from danlu.nn.layer import Layer
from danlu.nn.lift import lift
from danlu.nn.losses import LOSSES, Loss, get_loss, get_metric
from danlu.nn.mlp import MLP
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.nn.summary import Summary, summary
from danlu.nn.table_embeddings import CategoricalEmbedding, NumericEmbedding
from danlu.nn.tabular import TabularNet

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "MLP",
    "Activation",
    "BatchNorm",
    "CategoricalEmbedding",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Initializer",
    "Layer",
    "LayerNorm",
    "Loss",
    "NumericEmbedding",
    "Parallel",
    "Residual",
    "Sequential",
    "Summary",
    "TabularNet",
    "get_activation",
    "get_initializer",
    "get_loss",
    "get_metric",
    "initializer_for",
    "lift",
    "summary",
]
