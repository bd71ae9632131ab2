"""Secure aggregation: the server learns the sum of the clients' vectors and no client's own, though some of them are lost on the way.

Vectors are of whole numbers modulo ``2^bits`` (:mod:`~danlu.federated.fixed`). Client ``u`` sends, of its vector ``x_u``,

``y_u = x_u + PRG(b_u) + Σ_{v>u} PRG(s_uv) − Σ_{v<u} PRG(s_uv)``  modulo ``2^bits``

``s_uv`` is a secret that ``u`` and ``v`` agree on (X25519) and the server cannot know: in the sum, each pair's masks cancel. ``b_u`` is of
``u`` alone. Four stages, each of which a client may not survive:

1. *keys*: each client makes two pairs of keys, for masks and for letters, and sends the public ones.
2. *shares*: each shares ``b_u`` and its masks' private key among all by :mod:`~danlu.federated.shamir`, in sealed letters that the server
   passes on.
3. *vectors*: each sends ``y_u``.
4. *reveal*: told whose vector arrived, each client sends its parts of ``b_v`` for those and of the private key for the others, never both
   of one client. From ``threshold`` answers the server takes away the own masks, and the pairs' masks of the lost.

**What it protects.** A server that keeps to the protocol but is curious, also together with fewer than ``threshold`` clients, learns the
sum (with :class:`FixedPoint`: the weighted mean and the sum of weights) of those whose vectors arrived, who they were, and nothing else.
The sum itself may tell much when few are in it, or from round to round; differential privacy is against that. It does not protect
against a server that lies about who answered or makes up clients (that needs signed keys), nor against a client that sends a false vector.

Flower has helpers of its own for the same (``flwr.common.secure_aggregation``). In flwr 1.42 they draw masks by NumPy's ``RandomState``
from a seed folded to 32 bits, which a laptop can try out, and never draw the largest number; so they are not used here.

Reference:
    Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning, CCS 2017, figure 4 (honest but curious; without
    its signatures and consistency check). A late vector stays hidden: its own mask is revealed only where it counted.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import jax
import numpy as np

from danlu.errors import ConfigError, MissingExtraError, TrainingError
from danlu.federated import shamir
from danlu.federated.fixed import FixedPoint

__all__ = ["STAGES", "Member", "Terms", "need_package", "secure_mean", "secure_sum", "unmask"]

STAGES = ("keys", "shares", "vectors", "reveal")
"""The four stages in order, by what a client sends."""
_KEY = 32
Vector = np.ndarray


@dataclasses.dataclass(frozen=True)
class Terms:
    """What clients and server agree on before a sum.

    Args:
        members: how many clients were asked.
        threshold: how many must answer at every stage; two thirds of them, rounded up, when it is not given.
        bits: the sum is modulo ``2^bits``: 64 or 32.
        label: what distinguishes this sum from others, such as the round's number.
    """

    members: int
    threshold: int = 0
    bits: int = 64
    label: str = ""

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ConfigError(
                f"secure aggregation was asked for {self.members} client; expected at least 2: the sum of one is its own vector"
            )
        if not self.threshold:
            object.__setattr__(self, "threshold", self.members - self.members // 3)
        if not self.members / 2 < self.threshold <= self.members:
            raise ConfigError(
                f"the threshold of secure aggregation is {self.threshold}; expected more than half of the {self.members} clients: "
                "with half of them, the others' parts would open every mask"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned type whose arithmetic is modulo ``2^bits``."""
        return FixedPoint(bits=self.bits, fraction=1).dtype

    def enough(self, answers: Collection[int], what: str) -> None:
        """Raise TrainingError unless ``threshold`` clients answered."""
        if len(answers) < self.threshold:
            raise TrainingError(
                f"{len(answers)} of {self.members} clients sent {what}; secure aggregation needs {self.threshold} to open a sum",
                hint="ask the round again, of clients that answer; a lower threshold must stay above half of them",
            )


class Member:
    """One client of one secure sum: its secrets, and what it says at each stage. It answers each stage once.

    Args:
        number: the client's number, from 0.
        terms: what all agreed on.
        entropy: bytes at random, by their number; only tests give another source.
    """

    def __init__(self, number: int, terms: Terms, *, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self.number, self.terms, self._entropy = number, terms, entropy
        self._mask_key, self._letter_key, self._own = entropy(_KEY), entropy(_KEY), entropy(_KEY)
        self._publics: dict[int, bytes] = {}
        self._partners: dict[int, bytes] = {}
        self._stage = 0

    def advertise(self) -> bytes:
        """The public keys of masks and of letters, 64 bytes."""
        self._next("keys")
        return _public(self._mask_key) + _public(self._letter_key)

    def share(self, publics: Mapping[int, bytes]) -> dict[int, bytes]:
        """A sealed letter to each other client, with its part of both secrets.

        Args:
            publics: what each client that answered said at the first stage, this one's with it.
        """
        self._next("shares")
        self.terms.enough(publics, "their keys")
        mine = publics.get(self.number, b"")[:_KEY] == _public(self._mask_key)
        if len(set(publics.values())) < len(publics) or not mine:
            raise TrainingError(
                f"client {self.number} was sent keys that are not its own or stand twice; expected one of each client"
            )
        if len(publics) > self.terms.members:
            raise TrainingError(
                f"client {self.number} was sent the keys of {len(publics)} clients; expected at most {self.terms.members}, as agreed: "
                "of more, the threshold may not be more than half"
            )
        self._publics = dict(publics)
        own, key = (
            shamir.split(each, publics, self.terms.threshold, entropy=self._entropy)
            for each in (self._own, self._mask_key)
        )
        self._partners = {self.number: own[self.number] + key[self.number]}
        return {other: self._seal(other, own[other] + key[other]) for other in sorted(publics) if other != self.number}

    def mask(self, vector: Any, letters: Mapping[int, bytes]) -> Vector:
        """The masked vector ``y``.

        Args:
            vector: whole numbers modulo ``2^bits``.
            letters: the letters to this client, by sender: those who reached the second stage.
        """
        self._next("vectors")
        self._partners |= {sender: self._unseal(sender, letter) for sender, letter in letters.items()}
        self.terms.enough(self._partners, "the parts of their secrets")
        hidden = np.array(vector, self.terms.dtype)
        hidden += _expand(self._own, hidden.size, self.terms)
        for other in sorted(letters):
            _add_pair(hidden, self.number, other, self._mask_key, self._publics[other], self.terms)
        return hidden

    def reveal(self, arrived: Collection[int]) -> dict[int, bytes]:
        """For each client, the part that opens its own mask if its vector arrived, and of its masks' key if it was lost.

        Args:
            arrived: the numbers of those whose vectors the server has.
        """
        self._next("reveal")
        self.terms.enough(arrived, "their vectors")
        if not set(arrived) <= set(self._partners):
            unknown = sorted(set(arrived) - set(self._partners))
            raise TrainingError(f"client {self.number} was asked about clients that it shared nothing with: {unknown}")
        size = len(next(iter(self._partners.values()))) // 2
        return {who: parts[:size] if who in arrived else parts[size:] for who, parts in self._partners.items()}

    def _next(self, stage: str) -> None:
        if self._stage >= len(STAGES) or STAGES[self._stage] != stage:
            expected = STAGES[self._stage] if self._stage < len(STAGES) else "nothing more"
            raise TrainingError(
                f"client {self.number} was asked for stage '{stage}' of a secure sum; expected {expected}: "
                "a second answer could open a single client's vector"
            )
        self._stage += 1

    def _seal(self, other: int, text: bytes) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        nonce = self._entropy(12)
        return nonce + ChaCha20Poly1305(self._letter(other)).encrypt(nonce, text, f"{self.number}>{other}".encode())

    def _unseal(self, sender: int, letter: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        try:
            return ChaCha20Poly1305(self._letter(sender)).decrypt(
                letter[:12], letter[12:], f"{sender}>{self.number}".encode()
            )
        except (InvalidTag, KeyError) as error:
            raise TrainingError(
                f"client {self.number} cannot open the letter of client {sender}: it was changed on the way, or is of another round"
            ) from error

    def _letter(self, other: int) -> bytes:
        return _agree(self._letter_key, self._publics[other][_KEY:], b"letter " + self.terms.label.encode())


def unmask(
    masked: Mapping[int, Vector],
    publics: Mapping[int, bytes],
    revealed: Mapping[int, Mapping[int, bytes]],
    terms: Terms,
) -> Vector:
    """The server's part: the exact sum modulo ``2^bits`` of the vectors that arrived.

    Args:
        masked: the vectors that arrived, by client.
        publics: the public keys of every client that reached the second stage.
        revealed: what each client said at the last stage: for each client, a part of its secret.
        terms: what all agreed on.
    """
    terms.enough(masked, "their vectors")
    terms.enough(revealed, "their parts of the masks")
    total = np.sum(list(masked.values()), axis=0, dtype=terms.dtype)
    for client in sorted(publics):
        secret = shamir.combine({holder: parts[client] for holder, parts in revealed.items()}, terms.threshold)
        if client in masked:
            total -= _expand(secret, total.size, terms)
        else:
            # A lost client's pairs: what it would have added is added now.
            for other in sorted(masked):
                _add_pair(total, client, other, secret, publics[other], terms)
    return total


def secure_sum(
    vectors: Mapping[int, Any],
    *,
    threshold: int = 0,
    bits: int = 64,
    lost: Mapping[str, Collection[int]] | None = None,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[Vector, tuple[int, ...]]:
    """The whole protocol in one process: the sum, and the clients that are in it.

    Args:
        vectors: each client's whole numbers modulo ``2^bits``, all of one length.
        threshold: how many must answer at every stage; two thirds, rounded up, when 0.
        bits: 64 or 32.
        lost: for a stage, the clients that fall silent from it on. Those lost at ``reveal`` have sent their vectors, and are summed.
        entropy: bytes at random, by their number.

    Example:
        >>> import numpy as np
        >>> vectors = {client: np.full(2, client, np.uint64) for client in range(4)}
        >>> secure_sum(vectors, lost={"vectors": [3]})
        (array([3, 3], dtype=uint64), (0, 1, 2))
    """
    if unknown := set(lost or {}) - set(STAGES):
        raise ConfigError(f"clients are lost at {sorted(unknown)}; expected one of: {', '.join(STAGES)}")
    terms = Terms(len(vectors), threshold, bits)
    left = set(vectors)

    def answer(stage: str, what: str) -> list[int]:
        left.difference_update((lost or {}).get(stage, ()))
        terms.enough(left, what)
        return sorted(left)

    members = {client: Member(client, terms, entropy=entropy) for client in vectors}
    publics = {client: members[client].advertise() for client in answer("keys", "their keys")}
    letters = {client: members[client].share(publics) for client in answer("shares", "the parts of their secrets")}
    masked = {
        client: members[client].mask(
            vectors[client], {sender: sent[client] for sender, sent in letters.items() if sender != client}
        )
        for client in answer("vectors", "their vectors")
    }
    revealed = {client: members[client].reveal(masked) for client in answer("reveal", "their parts of the masks")}
    return unmask(masked, {client: publics[client] for client in letters}, revealed, terms), tuple(masked)


def secure_mean(
    updates: Any,
    weights: Any,
    *,
    point: FixedPoint | None = None,
    threshold: int = 0,
    lost: Mapping[str, Collection[int]] | None = None,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[Any, int]:
    """The weighted mean of updates through a secure sum, and the sum of weights: all that a server would see of them.

    Args:
        updates: a tree of arrays, each with a leading axis of clients.
        weights: whole numbers from 0, one a client; a client with 0 takes part and adds nothing.
        point: how numbers are rounded; the mean is within ``2^-(fraction+1)`` of the plain one.
        threshold: how many must answer, as of :func:`secure_sum`.
        lost: who falls silent when, as of :func:`secure_sum`.
        entropy: bytes at random, by their number.

    Example:
        >>> import numpy as np
        >>> mean, weight = secure_mean({"bias": np.array([[1.0], [2.0], [6.0]])}, [2, 1, 1])
        >>> mean["bias"], weight
        (array([2.5]), 4)
    """
    point = point or FixedPoint()
    leaves, treedef = jax.tree.flatten(updates)
    arrays = [np.asarray(leaf) for leaf in leaves]
    clients = len(weights)
    flat = np.concatenate(
        [array.astype(np.float64).reshape(clients, -1) for array in arrays], axis=1
    )  # (clients, numbers)
    vectors = {client: point.encode(flat[client], weights[client], members=clients) for client in range(clients)}
    total, _ = secure_sum(vectors, threshold=threshold, bits=point.bits, lost=lost, entropy=entropy)
    mean, weight = point.decode(total)
    parts = np.split(mean, np.cumsum([array[0].size for array in arrays])[:-1])
    shaped = [part.reshape(array.shape[1:]).astype(array.dtype) for part, array in zip(parts, arrays, strict=True)]
    return jax.tree.unflatten(treedef, shaped), weight


def _add_pair(vector: Vector, client: int, other: int, private: bytes, public: bytes, terms: Terms) -> None:
    """Add, in place, the mask that ``client`` adds for its pair with ``other``: negative for the larger number of the two."""
    mask = _expand(_agree(private, public[:_KEY], b"mask " + terms.label.encode()), vector.size, terms)
    if client < other:
        vector += mask
    else:
        vector -= mask


def _expand(seed: bytes, size: int, terms: Terms) -> Vector:
    """``size`` uniform whole numbers modulo ``2^bits`` from a seed: the stream of AES-256 in counter mode. Each seed serves once."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # Little-endian everywhere: two machines must draw the same numbers.
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(size * terms.dtype.itemsize))
    return np.frombuffer(stream, terms.dtype.newbyteorder("<")).astype(terms.dtype, copy=False)


def _agree(private: bytes, public: bytes, use: bytes) -> bytes:
    """The secret of 32 bytes of two clients for one use: HKDF-SHA256 of X25519's."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    return HKDF(algorithm=SHA256(), length=_KEY, salt=None, info=b"danlu " + use).derive(shared)


def need_package() -> None:
    """Raise MissingExtraError where the package for keys is not installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "secure aggregation needs the package cryptography, which is not installed",
            hint='pip install "danlu[secure]"',
        ) from error


def _public(private: bytes) -> bytes:
    need_package()
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return cast("bytes", X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())
