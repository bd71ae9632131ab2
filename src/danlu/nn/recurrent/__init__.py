"""Recurrence: cells run over time, in one direction or both, over padded sequences, and over streams cut in pieces."""

from danlu.nn.recurrent.gru import GRU
from danlu.nn.recurrent.lstm import LSTM
from danlu.nn.recurrent.masking import MaxOverTime, ZeroPadding, mask_from_lengths, pad
from danlu.nn.recurrent.models import BiLSTMClassifier, CharRNN
from danlu.nn.recurrent.rnn import Recurrent
from danlu.nn.recurrent.simple import SimpleRNN
from danlu.nn.recurrent.stack import Bidirectional, stream

__all__ = [
    "GRU",
    "LSTM",
    "BiLSTMClassifier",
    "Bidirectional",
    "CharRNN",
    "MaxOverTime",
    "Recurrent",
    "SimpleRNN",
    "ZeroPadding",
    "mask_from_lengths",
    "pad",
    "stream",
]
