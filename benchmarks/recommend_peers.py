"""What Surprise and implicit do with the rows of ``recommend.py``; run by their own Python, which needs no danlu.

``ratings IN OUT``: SVD++ of Surprise at its defaults. ``ranking IN OUT``: ALS and BPR of implicit, of whose settings the validation pairs
choose. IN and OUT are npz files.
"""

from __future__ import annotations

import os
import sys
import time

import numpy as np

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit asks for it


def ratings(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The predictions of SVD++ for the test pairs, and the seconds of its training and prediction."""
    import pandas
    from surprise import Dataset, Reader, SVDpp

    frame = pandas.DataFrame({name: given[f"train_{name}"] for name in ("user", "item", "rating")})
    train = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    test = list(zip(given["test_user"], given["test_item"], given["test_rating"], strict=True))
    begun, used = time.perf_counter(), time.process_time()
    model = SVDpp(random_state=0)
    model.fit(train)
    found = [each.est for each in model.test(test)]
    return {
        "prediction": np.array(found),
        "seconds": np.array(time.perf_counter() - begun),
        "cpu": np.array(time.process_time() - used),
    }


def ndcg(scores: np.ndarray, had: np.ndarray, user: np.ndarray, item: np.ndarray) -> float:
    """Of one true item a user, among all items that it did not have."""
    free = np.where(had > 0, -np.inf, scores)[user]
    rank = (free >= free[np.arange(len(user)), item][:, None]).sum(1)
    return float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0).mean())


def ranking(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The scores of all items for all users, of the best settings of each model."""
    import scipy.sparse
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking

    before, after, user, item = (given[name] for name in ("before", "after", "user", "item"))
    options = {
        "als": [
            (AlternatingLeastSquares, {"factors": f, "regularization": r, "alpha": a, "iterations": 15})
            for f in (16, 32, 64)
            for r in (0.01, 1.0, 10.0)
            for a in (1.0, 5.0)
        ],
        "bpr": [
            (BayesianPersonalizedRanking, {"factors": f, "learning_rate": rate, "regularization": r, "iterations": 100})
            for f in (16, 64)
            for rate in (0.01, 0.05)
            for r in (0.001, 0.01)
        ],
    }
    found = {}
    for name, models in options.items():

        def scores(choice: tuple, had: np.ndarray) -> np.ndarray:
            model = choice[0](random_state=0, num_threads=1, **choice[1])
            model.fit(scipy.sparse.csr_matrix(had), show_progress=False)
            return model.user_factors @ model.item_factors.T

        best = max(models, key=lambda choice: ndcg(scores(choice, before), before, user, item))
        print(name, best[1])
        found[name] = scores(best, after)
    return found


if __name__ == "__main__":
    with np.load(sys.argv[2]) as file:
        given = dict(file)
    np.savez(sys.argv[3], **{"ratings": ratings, "ranking": ranking}[sys.argv[1]](given))
