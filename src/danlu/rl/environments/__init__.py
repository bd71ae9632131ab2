"""The environments that danlu has compiled: each a file with its equations, as pure functions."""

from danlu.rl.environments.acrobot import Acrobot, AcrobotState
from danlu.rl.environments.bandit import Bandit, BanditState
from danlu.rl.environments.breakout import Breakout, BreakoutState
from danlu.rl.environments.cart_pole import CartPole, CartPoleState
from danlu.rl.environments.catch import Catch, CatchState
from danlu.rl.environments.drawing import Canvas
from danlu.rl.environments.driving import Driving, DrivingState
from danlu.rl.environments.grid_world import GridWorld, GridWorldState
from danlu.rl.environments.mountain_car import MountainCar, MountainCarState
from danlu.rl.environments.mountain_car_continuous import MountainCarContinuous
from danlu.rl.environments.pendulum import Pendulum, PendulumState
from danlu.rl.environments.shop import Shop, ShopState

__all__ = [
    "Acrobot",
    "AcrobotState",
    "Bandit",
    "BanditState",
    "Breakout",
    "BreakoutState",
    "Canvas",
    "CartPole",
    "CartPoleState",
    "Catch",
    "CatchState",
    "Driving",
    "DrivingState",
    "GridWorld",
    "GridWorldState",
    "MountainCar",
    "MountainCarContinuous",
    "MountainCarState",
    "Pendulum",
    "PendulumState",
    "Shop",
    "ShopState",
]
