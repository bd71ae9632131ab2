"""Deep reinforcement learning: environments as pure functions, and agents whose every update is the one training step."""

from danlu.rl.agent import Agent, AgentProgram, World
from danlu.rl.continuous import DDPG, SAC, TD3
from danlu.rl.dqn import DQN
from danlu.rl.environment import Environment, Envs, Outcome, Transition
from danlu.rl.evaluation import Episodes, play_at_random, play_episodes
from danlu.rl.fit import TrainedAgent, fit
from danlu.rl.on_policy import A2C, PPO, REINFORCE
from danlu.rl.recipes import ALGORITHMS, AgentSettings, agent_recipe
from danlu.rl.recording import record_episode
from danlu.rl.registry import make, registered

__all__ = [
    "A2C",
    "ALGORITHMS",
    "DDPG",
    "DQN",
    "PPO",
    "REINFORCE",
    "SAC",
    "TD3",
    "Agent",
    "AgentProgram",
    "AgentSettings",
    "Environment",
    "Envs",
    "Episodes",
    "Outcome",
    "TrainedAgent",
    "Transition",
    "World",
    "agent_recipe",
    "fit",
    "make",
    "play_at_random",
    "play_episodes",
    "record_episode",
    "registered",
]
