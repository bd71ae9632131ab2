"""Opacus's step for ``private.py step``, which runs this with another Python: a round of steps for each line that it is sent.

The network, the loss and the optimizer are those of Opacus's ``examples/mnist.py``. Rows are drawn by Poisson sampling out of one tensor,
which is faster than a DataLoader. ``hooks`` is Opacus's default; ``ghost`` finds norms first and then takes a second backward pass.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from opacus import PrivacyEngine
from torch.nn import functional


class SampleConvNet(torch.nn.Module):
    """The network of Opacus's MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 16, 8, 2, padding=3)
        self.conv2 = torch.nn.Conv2d(16, 32, 4, 2)
        self.fc1 = torch.nn.Linear(32 * 4 * 4, 32)
        self.fc2 = torch.nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(rows, 1, 28, 28)`` to ``(rows, 10)``."""
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2, 1)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2, 1)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


def main() -> None:
    """``private_peers.py MODE FILE BATCH STEPS THREADS``."""
    mode, file, batch, steps, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with np.load(file) as found:
        rows = batch * steps
        x = torch.from_numpy(found["x_train"][:rows, None].astype(np.float32) / 255)
        y = torch.from_numpy(found["y_train"][:rows].astype(np.int64))
    model, loss_of = SampleConvNet(), torch.nn.CrossEntropyLoss()
    made = PrivacyEngine().make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.25),
        criterion=loss_of,
        data_loader=torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=batch),
        noise_multiplier=0.7,
        max_grad_norm=1.5,
        grad_sample_mode=mode,
    )
    model, optimizer = made[:2]
    loss_of = made[2] if mode == "ghost" else loss_of
    for _ in sys.stdin:
        began = time.perf_counter(), time.process_time()
        for _ in range(steps):
            drawn = (torch.rand(rows) < batch / rows).nonzero()[:, 0]
            optimizer.zero_grad()
            loss_of(model(x[drawn]), y[drawn]).backward()
            optimizer.step()
        taken = (time.perf_counter() - began[0]) / steps, (time.process_time() - began[1]) / steps
        print(json.dumps([1e3 * each for each in taken]), flush=True)


if __name__ == "__main__":
    main()
