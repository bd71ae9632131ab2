"""A trained model of any kind: a schema, an encoder, a network and a head."""

from danlu.trained.encoder import Encoder
from danlu.trained.head import Head
from danlu.trained.held import HeldOut
from danlu.trained.labels import Labels
from danlu.trained.learned import Learned
from danlu.trained.read import Read, Reader, Say, warn
from danlu.trained.trained import Trained

__all__ = ["Encoder", "Head", "HeldOut", "Labels", "Learned", "Read", "Reader", "Say", "Trained", "warn"]
