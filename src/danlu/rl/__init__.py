"""Deep reinforcement learning: environments as pure functions, and agents whose every update is the one training step."""
