"""Deep reinforcement learning: environments as pure functions, and agents whose every update is the one training step."""

from danlu.rl.agent import Agent, AgentProgram, World
from danlu.rl.check_env import check_env
from danlu.rl.constraint import Constraint
from danlu.rl.continuous import DDPG, SAC, TD3
from danlu.rl.dagger import DAgger
from danlu.rl.dataset import load_buffer, save_buffer
from danlu.rl.discrete_sac import DiscreteSAC
from danlu.rl.dqn import DQN
from danlu.rl.environment import Environment, Envs, Outcome, Transition
from danlu.rl.evaluation import Episodes, play_at_random, play_episodes, play_expert
from danlu.rl.external import External, raise_if_broken
from danlu.rl.fit import LearnedAgent, fit
from danlu.rl.offline import CQL, BehaviourCloning, ContinuousCQL
from danlu.rl.on_policy import A2C, PPO, REINFORCE
from danlu.rl.recipes import ALGORITHMS, AgentSettings, agent_recipe
from danlu.rl.recording import record_episode
from danlu.rl.recurrent import RecurrentPPO
from danlu.rl.registry import is_environment, make, registered
from danlu.rl.to_gymnasium import to_gymnasium
from danlu.rl.wrappers import FrameStack, ScaleReward

__all__ = [
    "A2C",
    "ALGORITHMS",
    "CQL",
    "DDPG",
    "DQN",
    "PPO",
    "REINFORCE",
    "SAC",
    "TD3",
    "Agent",
    "AgentProgram",
    "AgentSettings",
    "BehaviourCloning",
    "Constraint",
    "ContinuousCQL",
    "DAgger",
    "DiscreteSAC",
    "Environment",
    "Envs",
    "Episodes",
    "External",
    "FrameStack",
    "LearnedAgent",
    "Outcome",
    "RecurrentPPO",
    "ScaleReward",
    "Transition",
    "World",
    "agent_recipe",
    "check_env",
    "fit",
    "is_environment",
    "load_buffer",
    "make",
    "play_at_random",
    "play_episodes",
    "play_expert",
    "raise_if_broken",
    "record_episode",
    "registered",
    "save_buffer",
    "to_gymnasium",
]
