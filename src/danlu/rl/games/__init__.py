"""Board games: the games, the search, the players, and AlphaZero."""

from danlu.rl.games.alphazero import AlphaZero
from danlu.rl.games.arena import contest
from danlu.rl.games.board import GAMES, Game, is_game
from danlu.rl.games.match import Match, MatchState, make_match
from danlu.rl.games.minimax import Minimax, Solver
from danlu.rl.games.players import MCTS, Player, RandomPlayer
from danlu.rl.games.proof import never_loses
from danlu.rl.games.recipes import GAME_RECIPES, game_recipe, train_game
from danlu.rl.games.search import PUCT, Gumbel, Search

__all__ = [
    "GAMES",
    "GAME_RECIPES",
    "MCTS",
    "PUCT",
    "AlphaZero",
    "Game",
    "Gumbel",
    "Match",
    "MatchState",
    "Minimax",
    "Player",
    "RandomPlayer",
    "Search",
    "Solver",
    "contest",
    "game_recipe",
    "is_game",
    "make_match",
    "never_loses",
    "train_game",
]
