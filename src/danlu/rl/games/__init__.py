"""Board games: the games, the search, the players, and AlphaZero."""

from danlu.rl.games.alphazero import AlphaZero
from danlu.rl.games.board import GAMES, Game, is_game
from danlu.rl.games.match import Match, MatchState
from danlu.rl.games.players import MCTS, Player, RandomPlayer
from danlu.rl.games.search import PUCT, Gumbel, Search

__all__ = [
    "GAMES",
    "MCTS",
    "PUCT",
    "AlphaZero",
    "Game",
    "Gumbel",
    "Match",
    "MatchState",
    "Player",
    "RandomPlayer",
    "Search",
    "is_game",
]
