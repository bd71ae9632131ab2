"""The environments that danlu has compiled: each a file with its equations, as pure functions."""

from danlu.rl.environments.cart_pole import CartPole, CartPoleState

__all__ = ["CartPole", "CartPoleState"]
