"""Board games: AlphaZero from nothing, then matches against minimax and exact answers.

    .venv/bin/python benchmarks/board_games.py --game connect-four [--minutes 60] [--steps N] [--seed 0] [--games 200]
    .venv/bin/python benchmarks/board_games.py --game tic-tac-toe [--seeds 5]

connect-four: trains by the recipe on the machine as it is, for at most so many minutes, compilation included. Then matches against minimax
(alpha-beta, the heuristic of AlphaZero.jl's baseline, several best moves drawn from) at depth 2 and 5: every opening of two random moves is
played twice, with either side to move after it. The share of optimal moves is against an exact solver, in its own games and in an exam:
positions of other players' games with few empty cells, in which some legal move gives the result away.

tic-tac-toe: trains with each seed, and plays every line of play that an opponent can choose, as first and as second player: with the search
of the recipe, and with the network's likeliest move alone.

What the results' file holds of the other game is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from harness import machine, table

from danlu.blueprint import to_json
from danlu.engine import LambdaCallback
from danlu.rl import fit
from danlu.rl.games import MCTS, Game, Minimax, Solver, contest, game_recipe, make_match, never_loses
from danlu.rl.games.arena import compiled, minimax_player, optimal_moves, wilson
from danlu.rl.games.minimax import legal_columns, play_column, wins
from danlu.rl.games.search import masked

RESULTS = Path(__file__).parent / "results" / "board_games.json"
DEPTHS, EMPTY, EXAM = (2, 5), 18, 500


def trained_on(name: str, options: argparse.Namespace, seed: int) -> tuple[Any, dict[str, Any]]:
    """A trained agent, and the record of its training."""
    match = make_match(name)
    agent, steps = game_recipe(match.game, **json.loads(options.settings))
    begun, late = time.perf_counter(), 60 * options.minutes

    def watch(epoch: int, row: dict[str, Any]) -> None:
        seconds = time.perf_counter() - begun
        shown = {key: round(row[key], 3) for key in ("frames", "length", "draws", "loss", "val_return")}
        print(f"{seconds:.0f} s", shown, flush=True)
        if seconds > late:
            clock.training.stop("time is up")

    clock = LambdaCallback(on_epoch_end=watch)
    trained = fit(
        agent,
        match,
        steps=options.steps or steps,
        seed=seed,
        evaluations=options.evaluations,
        episodes=32,
        display="none",
        callbacks=[clock],
        checkpoint=options.checkpoint,
        checkpoint_every=60,
        resume=options.checkpoint is not None,
    )
    history = trained.fitted.history
    # a resumed run counts what its epochs took, the time before its stop included
    seconds = max(time.perf_counter() - begun, sum(row["seconds"] for row in history))
    shown = [{key: row[key] for key in ("frames", "length", "draws", "val_return", "seconds")} for row in history]
    record = {"agent": to_json(agent), "seed": seed, "moves": history[-1]["frames"], "seconds": seconds}
    return trained, {**record, "history": shown}


def exam(game: Game, count: int, empty: int) -> tuple[np.ndarray, Any, list[dict[int, int]]]:
    """Boards, positions and exact values of late positions in which it matters what is played, out of games of minimax that errs."""
    rng, solver, step = random.Random(7), Solver(empty), jax.jit(game.step)
    positions, values, seen = [], [], set()
    while len(positions) < count:
        own = both = 0
        moves: list[int] = []
        while both.bit_count() < 42 - empty + rng.randrange(empty - 3):
            legal = legal_columns(both)
            column = rng.choice(legal) if rng.random() < 0.3 else rng.choice(Minimax(2).best(own, both))
            moves.append(column)
            own, both = play_column(own, both, column)
            if wins(own ^ both) or both.bit_count() == 42:
                break
        if wins(own ^ both) or 42 - both.bit_count() > empty or both.bit_count() == 42 or (own, both) in seen:
            continue
        found = solver.values(own, both)
        if len(set(found.values())) < 2:
            continue
        seen.add((own, both))
        position = game.begin()
        for column in moves:
            position = step(position, column)
        positions.append(position)
        values.append(found)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions)
    return np.asarray(jax.vmap(game.observation)(batch)), batch, values


def share(right: int, of: int) -> dict[str, Any]:
    low, high = wilson(right, of)
    return {"optimal": right, "positions": of, "share": right / max(of, 1), "low": low, "high": high}


def connect_four(options: argparse.Namespace) -> dict[str, Any]:
    """Train, play and examine."""
    trained, record = trained_on("connect-four", options, options.seed)
    game, solver = trained.env.game, Solver(EMPTY)

    def alone(positions: Any, key: jax.Array) -> jax.Array:
        logits, _ = trained.agent.evaluator(trained.env, trained.params, trained.state)(positions, key)
        return jnp.argmax(masked(logits, jax.vmap(game.legal)(positions)), axis=-1)

    players = {"the network alone": alone}
    for simulations in (32, 128):
        agent = trained.agent.replace(play_simulations=simulations)
        players[f"AlphaZero, {simulations} simulations"] = agent.player(trained.env, trained.params, trained.state)
    players["MCTS alone, 128 simulations"] = lambda positions, key: MCTS(128).choose(game, positions, key)
    _, positions, values = exam(game, EXAM, EMPTY)
    found = []
    for name, choose in players.items():
        entrant = compiled(choose)
        row: dict[str, Any] = {"player": name}
        for depth in DEPTHS:
            began = time.perf_counter()
            record_ = contest(game, entrant, minimax_player(game, Minimax(depth)), games=options.games, seed=depth)
            late = optimal_moves(record_.boards, record_.actions, solver)
            row[f"depth {depth}"] = {
                **record_.summary(),
                "different games": record_.different,
                "late moves": share(late.optimal, late.moves),
                "late moves that matter": share(late.hard_optimal, late.hard),
                "seconds": time.perf_counter() - began,
            }
        actions = entrant(positions, np.ones(EXAM, bool), np.random.default_rng(0))
        right = sum(value[int(action)] == max(value.values()) for action, value in zip(actions, values, strict=True))
        row["exam"] = share(right, EXAM)
        print(name, {d: row[f"depth {d}"]["all"] for d in DEPTHS}, row["exam"], flush=True)
        found.append(row)
    chance = float(np.mean([np.mean(np.array(list(v.values())) == max(v.values())) for v in values]))
    return {**record, "players": found, "exam by chance": chance, "games": options.games}


def tic_tac_toe(options: argparse.Namespace) -> dict[str, Any]:
    """Train with each seed, and prove."""
    rows = []
    for seed in range(options.seed, options.seed + options.seeds):
        trained, record = trained_on("tic-tac-toe", options, seed)
        env = trained.env
        find = trained.agent.player(env, trained.params, trained.state)
        judge = trained.agent.evaluator(env, trained.params, trained.state)

        def alone(positions: Any, judge: Any = judge, env: Any = env) -> jax.Array:
            logits = judge(positions, None)[0]
            return jnp.argmax(masked(logits, jax.vmap(env.game.legal)(positions)), axis=-1)

        lost = never_loses(env.game, lambda positions, find=find: find(positions, jax.random.key(0)))
        lost_alone = never_loses(env.game, alone)
        rows.append({**record, "search loses": lost, "network loses": lost_alone})
        print(seed, round(record["seconds"], 1), "s;", lost, lost_alone, flush=True)
    return {"runs": rows}


def percent(of: dict[str, Any], key: str = "share") -> str:
    return f"{100 * of[key]:.1f} % ({100 * of['low']:.0f}-{100 * of['high']:.0f})"


def page(report: dict[str, Any]) -> list[str]:
    """The results as Markdown."""
    lines = [
        "# Board games",
        "",
        "Made by `benchmarks/board_games.py`, which says what is measured. In brackets: Wilson's 95 % intervals.",
    ]
    four, toe = report.get("connect-four"), report.get("tic-tac-toe")
    if four:
        lines += ["", "## Connect Four", ""]
        lines.append(
            f"{four['moves']:,} moves of self-play in {four['seconds'] / 60:.0f} minutes (seed {four['seed']}); "
            f"{four['games']} games a match. {where(four)}"
        )
        head = (
            ["player"]
            + [
                f"depth {d}: {what}"
                for d in DEPTHS
                for what in ("won", "won as first", "as second", "drawn / different games")
            ]
            + ["exam"]
        )
        rows = []
        for row in four["players"]:
            cells = [row["player"]]
            for depth in DEPTHS:
                of = row[f"depth {depth}"]
                cells += [
                    percent(of["all"], "share_won"),
                    *(f"{100 * of[s]['share_won']:.0f} %" for s in ("first", "second")),
                ]
                cells.append(f"{of['all']['drawn']} / {of['different games']}")
            rows.append([*cells, percent(row["exam"])])
        lines += table(head, *rows)
        lines += [
            "",
            "Players without chance repeat themselves: where not all games were different, the intervals are narrower than they should be.",
            "",
            f"Exam: the share of optimal moves in {EXAM} positions with 4 to {EMPTY} empty cells in which some legal move gives the result "
            f"away; a random legal move is right in {100 * four['exam by chance']:.0f} %.",
            "",
            f"In its own games, of all moves with at most {EMPTY} empty cells, and of those that matter:",
        ]
        rows = [
            [
                row["player"],
                *(
                    percent(row[f"depth {d}"][what])
                    for d in DEPTHS
                    for what in ("late moves", "late moves that matter")
                ),
            ]
            for row in four["players"]
        ]
        lines += table(["player"] + [f"depth {d}, {what}" for d in DEPTHS for what in ("all", "that matter")], *rows)
    if toe:
        lines += [
            "",
            "## Tic-tac-toe",
            "",
            f"All lines of play of the opponent, as first and as second player. {where(toe)}",
        ]
        rows = [
            [str(run["seed"]), f"{run['seconds']:.0f} s", f"{run['moves']:,}", *(
                "never loses" if run[key] is None else f"loses: {run[key]}" for key in ("search loses", "network loses")
            )]
            for run in toe["runs"]
        ]  # fmt: skip
        lines += table(["seed", "training", "moves of self-play", "with search", "the network alone"], *rows)
    return lines


def where(part: dict[str, Any]) -> str:
    about, (before, after) = part["machine"], part["load"]
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("danlu", "jax") if name in about["versions"])
    return (
        f"{about['cpu']}, {about['cores']} cores, load average {before:.1f} -> {after:.1f} (the machine is shared); {versions}; "
        f"{about['date']}, commit {about['commit']}. {part.get('note', '')}"
    ).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", choices=("connect-four", "tic-tac-toe"), default="connect-four")
    parser.add_argument(
        "--minutes", type=float, default=60, help="training stops at the first evaluation after so many"
    )
    parser.add_argument("--steps", type=int, help="moves of self-play; without it the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5, help="of tic-tac-toe")
    parser.add_argument("--games", type=int, default=200, help="of a match")
    parser.add_argument("--evaluations", type=int, default=12)
    parser.add_argument("--settings", default="{}", help="of the agent, as JSON, instead of the recipe's")
    parser.add_argument("--checkpoint", help="a folder; training is resumed from what is there")
    parser.add_argument("--note", help="a sentence for the page, on how this was run")
    parser.add_argument("--page", action="store_true", help="only write the page again, from the JSON file")
    options = parser.parse_args()
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not options.page:
        before = os.getloadavg()[0]
        found = {"connect-four": connect_four, "tic-tac-toe": tic_tac_toe}[options.game](options)
        report[options.game] = {"machine": machine(), "load": [before, os.getloadavg()[0]], **found}
    if options.note:
        report[options.game]["note"] = options.note
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")
    text = "\n".join(page(report)) + "\n"
    RESULTS.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
