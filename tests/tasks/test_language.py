"""Language modelling: corpora and windows, what the model says of a text, what it writes, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from danlu.data.text import Corpus, Tokenizer, Tokens, Windows, read_corpus, split_corpus, tokens_of
from danlu.errors import ConfigError, DataError
from danlu.tasks import BeamSearch, NextToken, language_recipe, learn_language
from danlu.tasks.language import ScoredTokens
from danlu.trained import Trained

STREAM = "the cat sat on the mat. " * 60
LINES = tuple(f"{a}{b}{c}" for a in "bdgkmn" for b in "aeiou" for c in ("n", "r", "la", "ssa"))


def test_a_file_of_short_lines_is_told_from_a_stream(tmp_path: Path) -> None:
    names, story = tmp_path / "names.txt", tmp_path / "story.txt"
    names.write_text("\n".join(LINES) + "\n")
    story.write_text("It was a dark night.\n\n" * 20)
    assert read_corpus(names).texts == LINES
    found = read_corpus(story)
    assert not found.lines
    assert found.characters == len("It was a dark night.\n\n" * 20)
    assert read_corpus(names, lines=False).texts == ("\n".join(LINES) + "\n",)
    split = read_corpus(story, lines=True)
    assert (len(split.texts), split.notices) == (20, ("19 empty lines are left out",))
    assert split.characters == 20 * len("It was a dark night.\n")


def test_files_of_other_systems_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\r\n\r\ntwo\r\n".encode())
    assert read_corpus(file).texts == ("one\n\ntwo\n",)
    file.write_bytes("你好，世界。这是一个测试。".encode("gb18030"))
    found = read_corpus(file)
    assert found.texts == ("你好，世界。这是一个测试。",)
    assert "gb18030" in found.notices[0]
    for content, message in ((b"", "holds no text"), (b" \n \n", "holds no text"), (b"a\0b", "not a text file")):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_corpus(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_corpus(tmp_path / "none.txt")


def test_a_stream_is_cut_by_position() -> None:
    parts, said = split_corpus(Corpus(("abcdefghij" * 10,), False), validation=0.1, test=0.2)
    assert [len(parts[name].texts[0]) for name in ("train", "validation", "test")] == [70, 10, 20]
    assert "".join(parts[name].texts[0] for name in parts) == "abcdefghij" * 10
    assert "position" in said
    none, _ = split_corpus(Corpus(("abcdefghij" * 10,), False), validation=0.1, test=0.0)
    assert none["test"].texts == ()


def test_equal_lines_stay_together() -> None:
    corpus = Corpus((*LINES, *LINES, *LINES[:50]), True)
    parts, _ = split_corpus(corpus, validation=0.2, test=0.2, seed=3)
    sets = [set(parts[name].texts) for name in ("train", "validation", "test")]
    assert sorted(text for part in parts.values() for text in part.texts) == sorted(corpus.texts)
    assert len(set.union(*sets)) == sum(map(len, sets))
    again, _ = split_corpus(corpus, validation=0.2, test=0.2, seed=3)
    other, _ = split_corpus(corpus, validation=0.2, test=0.2, seed=4)
    assert again["test"].texts == parts["test"].texts != other["test"].texts
    with pytest.raises(DataError, match="too few to divide"):
        split_corpus(Corpus(("a", "b", "c"), True), validation=0.2, test=0.2)


def test_tokens_of_a_stream_in_pieces_are_those_of_the_whole() -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcde \n"), 120_000))
    for kind in ("char", "word"):
        tokenizer = Tokenizer.fit([text], kind=kind)
        found = tokens_of(Corpus((text,), False), tokenizer)
        assert found.tokens.tolist() == tokenizer.encode_one(text)
    tokenizer = Tokenizer.fit([text], kind="char")
    found = tokens_of(Corpus((text,), False), tokenizer)
    assert (found.predicted, found.characters, found.longest) == (119_999, 119_999, 119_999)


def test_tokens_of_lines_begin_and_end() -> None:
    tokenizer = Tokenizer.fit(LINES, kind="char")
    found = tokens_of(Corpus(("ban", "mela"), True), tokenizer)
    first = found.tokens[found.bounds[0] : found.bounds[1]]
    assert (first[0], first[-1], tokenizer.decode(first)) == (tokenizer.begin_id, tokenizer.end_id, "ban")
    assert (found.predicted, found.characters, found.longest) == (4 + 5, 4 + 5, 5)


def _targets(chunks: Any) -> list[int]:
    return [int(y) for chunk in chunks for row in chunk["y"] for y in row if y >= 0]


@pytest.mark.parametrize("lengths", [[50], [3, 1, 9, 0, 5, 2], [2], [8]])
@pytest.mark.parametrize("context", [4, 7])
def test_every_token_is_predicted_once(lengths: list[int], context: int) -> None:
    tokens = Tokens(np.arange(sum(lengths)), np.cumsum([0, *lengths]), 0)
    windows = Windows(tokens, context, seed=None)
    first = {int(start) for start in tokens.bounds[:-1]}
    expected = [t for t in range(sum(lengths)) if t not in first]
    assert _targets(windows.chunks(0, 0)) == expected
    for chunk in windows.chunks(0, 0):
        real = chunk["y"] >= 0
        np.testing.assert_array_equal(chunk["x"][real] + 1, chunk["y"][real])
        np.testing.assert_array_equal(chunk["weight"], real.sum(1))
        assert not chunk["x"][~real].any()


@pytest.mark.parametrize("stride", [1, 3, 7])
def test_overlapping_windows_predict_every_token_once_from_more(stride: int) -> None:
    tokens = Tokens(np.arange(60), np.array([0, 25, 26, 60]), 0)
    chunks = list(Windows(tokens, 7, seed=None, stride=stride).chunks(0, 0))
    assert _targets(chunks) == [t for t in range(60) if t not in (0, 25, 26)]
    for chunk in chunks:
        real = chunk["y"] >= 0
        np.testing.assert_array_equal(chunk["x"][real] + 1, chunk["y"][real])
        np.testing.assert_array_equal(chunk["weight"], real.sum(1))
        from_nothing = np.isin(chunk["x"][:, 0], tokens.bounds)
        assert (real.argmax(1)[~from_nothing] == 7 - stride).all()
    with pytest.raises(ConfigError, match="expected 1 to 7"):
        Windows(tokens, 7, stride=8)


def test_training_windows_are_drawn_anew_and_the_same_again() -> None:
    tokens = Tokens(np.arange(101), np.array([0, 101]), 0)
    windows = Windows(tokens, 8, seed=1)
    assert windows.rows == windows.per_pass == 12
    epochs = [list(windows.chunks(epoch, 0)) for epoch in range(6)]
    assert [chunk["x"].tolist() for chunk in windows.chunks(3, 0)] == [chunk["x"].tolist() for chunk in epochs[3]]
    starts = [sorted(chunk["x"][:, 0] % 8 for chunk in epoch)[0][0] for epoch in epochs]
    assert len(set(starts)) > 2, "each pass cuts the text elsewhere"
    for epoch in epochs:
        seen = _targets(epoch)
        assert len(seen) == len(set(seen)) >= 85
    assert Windows(tokens, 8, seed=2).chunks(0, 0).__next__()["x"].tolist() != epochs[0][0]["x"].tolist()
    # Epochs of another size are the same passes.
    short = Windows(tokens, 8, rows=5, seed=1)
    joined = np.concatenate([next(short.chunks(epoch, 0))["x"] for epoch in range(12)])
    np.testing.assert_array_equal(joined, np.concatenate([epoch[0]["x"] for epoch in epochs])[:60])


def test_windows_of_a_long_text_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.data.text.corpus._CHUNK", 64)
    tokens = Tokens(np.arange(500), np.array([0, 500]), 0)
    windows = Windows(tokens, 8, seed=1, multiple=3)
    chunks = list(windows.chunks(2, 0))
    assert {len(chunk["x"]) for chunk in chunks[:-1]} == {6}
    assert sum(len(chunk["x"]) for chunk in chunks) == windows.rows
    assert [chunk["x"].tolist() for chunk in windows.chunks(2, 4)] == [chunk["x"].tolist() for chunk in chunks[4:]]
    with pytest.raises(DataError, match="no text has two tokens"):
        Windows(Tokens(np.arange(3), np.array([0, 1, 2, 3]), 0), 8)


def test_the_recipe_fits_the_text() -> None:
    stream, lines = language_recipe(69, 10**6), language_recipe(30, 10**5, longest=16)
    assert (stream.model.dim, stream.model.num_layers, stream.model.num_heads, stream.model.context) == (128, 4, 4, 64)
    assert (lines.model.context, stream.loss) == (16, "token_cross_entropy")
    assert language_recipe(9, 10, network={"dim": 48}).model.num_heads == 2
    assert language_recipe(9, 10, epochs=3).epochs == 3
    params, _, _ = stream.model.init(jax.random.key(0), (64,))
    kept = {leaf.ndim for leaf in jax.tree.leaves(params) if leaf.ndim > 1}
    decayed = jax.tree.map(lambda leaf, on: leaf.ndim if on else 0, params, stream.decays(params))
    assert set(jax.tree.leaves(decayed)) == {0, *kept}
    for wrong, message in (({"context": 2}, "at least 4"), ({"epoch": 2}, "epoch"), ({"network": {"dim": 7}}, "even")):
        with pytest.raises(ConfigError, match=message):
            language_recipe(9, 10, **wrong)


TINY: dict[str, Any] = {"dim": 24, "num_layers": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def reader() -> Trained:
    """A model that has learnt one sentence."""
    parts, _ = split_corpus(Corpus((STREAM,), False), validation=0.1, test=0.1)
    tokenizer = Tokenizer.fit(parts["train"].texts, kind="char")
    train, held = (tokens_of(parts[name], tokenizer) for name in ("train", "validation"))
    plan = language_recipe(tokenizer.size, train.predicted, context=16, network=TINY, epochs=1, learning_rate=1e-2)
    learned = learn_language(train, tokenizer=tokenizer, plan=plan, validation=held, lines=False)
    assert len(learned.fitted.history) == 1
    assert learned.fitted.history[0]["val_loss"] < 0.5
    return learned.model


def test_what_is_measured_in_training_is_what_the_model_says(reader: Trained) -> None:
    held = tokens_of(Corpus((STREAM[7:300],), False), reader.encoder.tokenizer)
    losses = reader.token_losses(held, stride=16)
    assert losses.shape == (held.predicted,)
    # By hand: one window after the other.
    places = range(0, held.predicted, 16)
    by_hand = []
    network = jax.jit(lambda x: reader.network.apply(reader.params, reader.state, x)[0])
    for place in places:
        x = held.tokens[place : place + 16][: held.predicted - place]
        logits = np.asarray(network(np.resize(x, (1, 16)))[0, : len(x)], np.float64)
        after = held.tokens[place + 1 : place + 1 + len(x)]
        by_hand += list(np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(x)), after])
    np.testing.assert_allclose(losses, by_hand, atol=2e-4)
    assert reader.token_losses(held).mean() < losses.mean(), "from more context"


def test_it_writes_what_it_learnt_beyond_its_context(reader: Trained) -> None:
    (text,) = reader.generate("the cat", length=60, temperature=0)
    assert text == STREAM[: len("the cat") + 60]
    (long,) = reader.generate(STREAM[:90], length=7, temperature=0)
    assert long == STREAM[:97]


def test_samples_follow_from_the_seed(reader: Trained) -> None:
    first = reader.generate("the ", length=30, samples=3, temperature=50.0, seed=1)
    assert first == reader.generate("the ", length=30, samples=3, temperature=50.0, seed=1)
    assert first != reader.generate("the ", length=30, samples=3, temperature=50.0, seed=2)
    assert len(set(first)) == 3
    assert {len(text) for text in first} == {34}, "special tokens, which have no text, are never drawn"
    assert all(set(text) <= set(STREAM) for text in first)
    greedy = reader.generate("the ", length=9, samples=3, top_k=1)
    assert greedy == reader.generate("the ", length=9, samples=3, top_k=1, top_p=0.9, temperature=0)
    assert len(reader.generate(length=5, samples=3)[0]) == 5
    for wrong, error, message in (
        ({"prompt": "the Q?"}, DataError, "holds 'Q', '\\?', not"),
        ({"length": 0}, ConfigError, "length=0"),
        ({"temperature": -1.0}, ConfigError, "temperature"),
        ({"top_p": 1.5}, ConfigError, "top_p"),
    ):
        with pytest.raises(error, match=message):
            reader.generate(**wrong)


@pytest.mark.slow
def test_lines_are_learnt_and_end() -> None:
    tokenizer = Tokenizer.fit(LINES, kind="char")
    everything = tokens_of(Corpus(LINES, True), tokenizer)
    plan = language_recipe(
        tokenizer.size, everything.predicted, longest=everything.longest, network={**TINY, "dropout": 0.0},
        epochs=20, batch_size=32, learning_rate=1e-2,
    )  # fmt: skip
    learned = learn_language(everything, tokenizer=tokenizer, plan=plan, validation=everything, lines=True)
    # 120 different lines of equal chance: 4.79 nats each, spread over their tokens.
    best = np.log(len(LINES)) * len(LINES) / everything.predicted
    assert best < learned.fitted.history[-1]["loss"] < best + 0.15
    written = learned.model.generate(samples=40, length=30)
    assert np.mean([text in LINES for text in written]) > 0.8
    assert all(text.startswith("me") for text in learned.model.generate("me", samples=5))


def test_scores_are_of_each_line_and_of_each_text() -> None:
    tokens = Tokens(np.arange(6), np.array([0, 4, 4, 6]), 0, np.array([0, 0, 1, 3, 4, 4]))
    scored = ScoredTokens(tokens, np.array([1.0, 2.0, 4.0, 8.0]))  # of the tokens 1, 2, 3 and 5
    assert scored.means(tokens.line, 5) == ([1, 1, 0, 1, 1], [1.0, 2.0, None, 4.0, 8.0])
    told = NextToken().replies(scored, ["a\nb", "", "c\n"])
    assert told[0] == {"text": "a\nb", "tokens": 3, "loss": pytest.approx(7 / 3)}
    assert told[1:] == [{"text": "", "tokens": 0, "loss": None}, {"text": "c", "tokens": 1, "loss": 8.0}]


def test_the_heads_of_tokens_are_pure_and_say_the_same_in_numpy() -> None:
    logits = np.random.default_rng(0).normal(0, 9, (2, 3, 5))
    for head in (NextToken(), BeamSearch()):
        exact = head(logits)
        np.testing.assert_allclose(np.exp(exact).sum(axis=-1), 1)
        np.testing.assert_allclose(jax.jit(lambda h, x: h(x))(head, logits.astype(np.float32)), exact, atol=1e-5)
