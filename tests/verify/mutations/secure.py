"""Secure sums: masks, their signs, and the parts of secrets."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "federated/secure.py",
        ("pair-mask-of-one-sign", "    if client < other:", "    if True:", "secure.sum"),
        ("own-mask-left", "total -= _expand(secret, total.size, terms)", "total -= 0", "secure.sum"),
        ("lost-pairs-left", "for other in sorted(masked):", "for other in ():", "secure.sum"),
    ),
    *of(
        "federated/shamir.py",
        (
            "parts-from-another-place",
            "above = above * (other + 1) % PRIME",
            "above = above * other % PRIME",
            "secure.shamir",
        ),
    ),
    *of(
        "federated/fixed.py",
        (
            "mean-not-of-the-weight",
            "signed[1:] / (weight * 2.0**self.fraction)",
            "signed[1:] / 2.0**self.fraction",
            "secure.mean",
        ),
        ("weight-left-out", ".astype(np.int64) * int(weight)", ".astype(np.int64)", "secure.mean"),
    ),
]
