"""Secure sums: exact whoever is lost, refused below the threshold, and nothing of one client in what the server sees."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.errors import ConfigError, DataError, TrainingError
from danlu.federated import FixedPoint, Member, Terms, secure, secure_mean, secure_sum, shamir, unmask

pytest.importorskip("cryptography")


def fixed_entropy(seed: int) -> Callable[[int], bytes]:
    """Bytes that a seed decides."""
    return np.random.default_rng(seed).bytes


def vectors_of(clients: int, size: int, seed: int = 0, bits: int = 64) -> dict[int, np.ndarray]:
    """Whole numbers from the whole range."""
    draw = np.random.default_rng(seed)
    dtype = np.dtype(f"uint{bits}")
    return {client: draw.integers(0, 2**bits, size, dtype, endpoint=False) for client in range(clients)}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("stage", secure.STAGES)
def test_the_sum_is_exact_with_three_of_ten_lost_at_any_stage(stage: str, bits: int) -> None:
    vectors = vectors_of(10, 33, bits=bits)
    lost = [0, 4, 9]
    total, counted = secure_sum(vectors, bits=bits, lost={stage: lost})
    expected = [client for client in vectors if stage == "reveal" or client not in lost]
    assert list(counted) == expected
    np.testing.assert_array_equal(total, np.sum([vectors[client] for client in expected], axis=0, dtype=total.dtype))


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 7), st.data())
def test_whoever_is_lost_when_the_sum_is_exact_or_refused(clients: int, data: st.DataObject) -> None:
    """Property: each client falls silent at some stage, or never; what is left is enough, or the message says how many there were."""
    threshold = data.draw(st.integers(clients // 2 + 1, clients))
    when = data.draw(st.lists(st.integers(0, 6), min_size=clients, max_size=clients))  # 4, 5 and 6: never
    lost = {stage: [c for c in range(clients) if when[c] == place] for place, stage in enumerate(secure.STAGES)}
    vectors = vectors_of(clients, 3, seed=clients)
    if sum(stage > 3 for stage in when) < threshold:
        with pytest.raises(
            TrainingError, match=f"of {clients} clients sent the.*; secure aggregation needs {threshold}"
        ):
            secure_sum(vectors, threshold=threshold, lost=lost)
        return
    total, counted = secure_sum(vectors, threshold=threshold, lost=lost)
    assert counted == tuple(c for c in range(clients) if when[c] > 2)
    np.testing.assert_array_equal(total, np.sum([vectors[c] for c in counted], axis=0, dtype=np.uint64))


def view(vectors: dict[int, np.ndarray], seed: int) -> dict[int, np.ndarray]:
    """The masked vectors that the server receives."""
    terms = Terms(len(vectors), bits=64)
    entropy = fixed_entropy(seed)
    members = {client: Member(client, terms, entropy=entropy) for client in vectors}
    publics = {client: member.advertise() for client, member in members.items()}
    letters = {client: member.share(publics) for client, member in members.items()}
    return {
        client: member.mask(
            vectors[client], {sender: sent[client] for sender, sent in letters.items() if sender != client}
        )
        for client, member in members.items()
    }


def uniform(numbers: np.ndarray) -> float:
    """The standardised χ² of the bytes of ``numbers``: about normal when they are uniform."""
    seen = np.bincount(np.frombuffer(numbers.tobytes(), np.uint8), minlength=256)
    expected = seen.sum() / 256
    return float((((seen - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


def test_a_masked_vector_looks_uniform_whatever_it_holds() -> None:
    size = 20_000
    for inside in (np.zeros(size, np.uint64), np.full(size, 123_456, np.uint64), np.arange(size, dtype=np.uint64)):
        seen = view({0: inside, 1: inside, 2: inside}, seed=3)
        assert all(abs(uniform(masked)) < 4 for masked in seen.values())
        # Neither one vector less another, nor a sum of two of the three.
        for one, other in itertools.combinations(seen.values(), 2):
            assert abs(uniform(one - other)) < 4
            assert abs(uniform(one + other)) < 4
    assert uniform(np.arange(size, dtype=np.uint64)) > 100  # the test sees what is not masked


def test_two_inputs_of_one_sum_give_one_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks of clients 0 and 1's pair are a one-time pad: for any change of theirs that keeps the sum, there are masks as likely
    as the drawn ones under which the server sees the same bytes."""
    before = vectors_of(3, 5)
    change = np.arange(1, 6, dtype=np.uint64)
    after = before | {0: before[0] + change, 1: before[1] - change}
    seen = view(before, seed=1)
    assert not np.array_equal(view(after, seed=1)[0], seen[0])

    plain = secure._add_pair

    def shifted(vector: np.ndarray, client: int, other: int, *rest: object) -> None:
        plain(vector, client, other, *rest)  # type: ignore[arg-type]
        if {client, other} == {0, 1}:
            vector += -change if client == 0 else change

    monkeypatch.setattr(secure, "_add_pair", shifted)
    for client, masked in view(after, seed=1).items():
        np.testing.assert_array_equal(masked, seen[client])


def test_a_late_vector_stays_hidden_when_its_clients_key_was_opened() -> None:
    """A client that counted as lost, and whose vector came after all: all its pairs' masks are known to the server, its own is not."""
    vectors = {client: np.zeros(20_000, np.uint64) for client in range(3)}
    late = view(vectors, seed=5)[2]
    members = {
        client: Member(client, Terms(3), entropy=entropy) for entropy in [fixed_entropy(5)] for client in vectors
    }
    publics = {client: member.advertise() for client, member in members.items()}
    for other in (0, 1):  # what the server can take away: the key of client 2 is open to it
        secure._add_pair(late, other, 2, members[2]._mask_key, publics[other], Terms(3))
    assert abs(uniform(late)) < 4
    late -= secure._expand(members[2]._own, late.size, Terms(3))
    assert not late.any()


def test_a_member_answers_each_stage_once_and_in_order() -> None:
    members = {client: Member(client, Terms(2)) for client in range(2)}
    publics = {client: member.advertise() for client, member in members.items()}
    with pytest.raises(TrainingError, match="asked for stage 'keys' of a secure sum; expected shares"):
        members[0].advertise()
    letters = {client: member.share(publics) for client, member in members.items()}
    masked = {0: members[0].mask([1], {1: letters[1][0]}), 1: members[1].mask([2], {0: letters[0][1]})}
    revealed = {client: member.reveal([0, 1]) for client, member in members.items()}
    with pytest.raises(TrainingError, match=r"expected nothing more: a second answer could open"):
        members[0].reveal([0, 1])
    assert unmask(masked, publics, revealed, Terms(2)) == 3


def test_a_changed_letter_and_doubled_keys_are_refused() -> None:
    members = {client: Member(client, Terms(2)) for client in range(2)}
    publics = {client: member.advertise() for client, member in members.items()}
    with pytest.raises(TrainingError, match="keys that are not its own or stand twice"):
        _advertised(0).share({0: publics[1], 1: publics[1]})
    letters = {client: member.share(publics) for client, member in members.items()}
    broken = letters[1][0][:-1] + bytes([letters[1][0][-1] ^ 1])
    with pytest.raises(TrainingError, match="client 0 cannot open the letter of client 1"):
        members[0].mask([1], {1: broken})


def _advertised(number: int) -> Member:
    member = Member(number, Terms(2))
    member.advertise()
    return member


def test_terms_that_protect_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="the sum of one is its own vector"):
        secure_sum({0: [1]})
    with pytest.raises(
        ConfigError, match="threshold of secure aggregation is 2; expected more than half of the 4 clients"
    ):
        Terms(4, threshold=2)
    with pytest.raises(ConfigError, match=r"lost at \['vector'\]; expected one of: keys"):
        secure_sum({0: [1], 1: [2]}, lost={"vector": [1]})
    assert [Terms(members).threshold for members in (2, 3, 10, 100)] == [2, 2, 7, 67]


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 8), st.data())
def test_any_parts_give_the_secret_back_and_fewer_do_not(secret: bytes, holders: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, holders))
    parts = shamir.split(secret, range(holders), threshold)
    chosen = data.draw(st.permutations(range(holders)))[:threshold]
    assert shamir.combine({holder: parts[holder] for holder in chosen}, threshold) == secret
    with pytest.raises(DataError, match=f"{threshold - 1} parts of a secret were given; {threshold} are needed"):
        shamir.combine({holder: parts[holder] for holder in chosen[1:]}, threshold)


def test_keys_of_others_than_were_agreed_on_are_refused() -> None:
    """Shared among more than the terms name, a threshold of two would open both secrets of a client; and a client knows its own key."""
    keys = {number: Member(number, Terms(3)).advertise() for number in range(4)}
    member = Member(0, Terms(3))
    own = member.advertise()
    with pytest.raises(TrainingError, match="the keys of 4 clients; expected at most 3"):
        member.share({**keys, 0: own})
    member = Member(0, Terms(3))
    member.advertise()
    with pytest.raises(TrainingError, match="not its own"):
        member.share({number: keys[number] for number in range(3)})


def test_fewer_parts_than_the_threshold_tell_nothing() -> None:
    """Two parts of three: for every other secret there is a polynomial through both, so the same parts belong to it too."""
    parts = shamir.split(bytes(32), [0, 1, 2], 3)
    x0, x1 = (int.from_bytes(parts[holder]) for holder in (0, 1))
    for other in (1, 2**255):
        # The third part for which `other` is the secret, by Lagrange's formula: other = 3·f(1) − 3·f(2) + f(3).
        third = (other - 3 * x0 + 3 * x1) % shamir.PRIME
        made = {0: parts[0], 1: parts[1], 2: third.to_bytes(33)}
        assert int.from_bytes(shamir.combine(made, 3)) == other


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**31))
def test_the_secure_mean_is_the_weighted_mean_of_rounded_updates(clients: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    updates = {"w": draw.normal(size=(clients, 2, 3)), "b": draw.normal(size=(clients, 4)).astype(np.float32)}
    weights = draw.integers(0, 1000, clients)
    weights[0] += 1
    mean, weight = secure_mean(updates, weights)
    assert weight == weights.sum()
    for name, array in updates.items():
        plain = np.average(array.astype(np.float64), axis=0, weights=weights)
        assert mean[name].dtype == array.dtype
        np.testing.assert_allclose(mean[name], plain, rtol=0 if name == "w" else 1e-6, atol=2.0**-32)


def test_numbers_that_do_not_fit_are_refused() -> None:
    point = FixedPoint()
    largest = 2.0**31 / 10 / 500
    point.encode([0.99 * largest], 500, members=10)
    with pytest.raises(
        TrainingError,
        match=r"with the weight 500 does not fit: 64 bits with 32 after the point hold less than 4.29e\+05",
    ):
        point.encode([1.01 * largest], 500, members=10)
    with pytest.raises(TrainingError, match="NaN or infinite"):
        point.encode([np.nan], members=2)
    with pytest.raises(ConfigError, match=r"the weight of an update is 0\.5"):
        point.encode([1.0], 0.5, members=2)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="weights sum to 0"):
        point.decode(point.encode([1.0], 0, members=2))
    with pytest.raises(ConfigError, match="bits is 48; expected 32 or 64"):
        FixedPoint(bits=48)
