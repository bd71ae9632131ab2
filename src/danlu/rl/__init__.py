"""Deep reinforcement learning: environments as pure functions, and agents whose every update is the one training step."""

from danlu.rl.agent import Agent, AgentProgram, World
from danlu.rl.environment import Environment, Envs, Outcome, Transition
from danlu.rl.evaluation import Episodes, play_episodes
from danlu.rl.fit import TrainedAgent, fit
from danlu.rl.on_policy import A2C, PPO, REINFORCE
