"""The peers of generative.py in PyTorch: the same small networks, trained by the usual eager loop; writes pictures to an npz file.

PYTHON benchmarks/generative_torch.py vae|flow-matching DATA.npz OUT.npz --epochs 10 --count 1000
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class VAE(nn.Module):
    """Hidden 500, 20 codes, Bernoulli pixels, the label beside the codes."""

    def __init__(self, numbers: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.body = nn.Sequential(nn.Linear(numbers, 500), nn.ReLU())
        self.encoder = nn.Sequential(nn.Linear(500 + classes, 500), nn.ReLU(), nn.Linear(500, 40))
        self.decoder = nn.Sequential(nn.Linear(20 + classes, 500), nn.ReLU(), nn.Linear(500, numbers))

    def told(self, labels: torch.Tensor) -> torch.Tensor:
        return F.one_hot(labels, self.classes + 1)[:, : self.classes].float()

    def decoded(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.decoder(torch.cat([codes, self.told(labels)], 1))

    def loss(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        mean, spread = self.encoder(torch.cat([self.body(x), self.told(labels)], 1)).chunk(2, 1)
        logits = self.decoded(mean + spread.exp() * torch.randn_like(mean), labels)
        kl = 0.5 * (mean**2 + (2 * spread).exp() - 1 - 2 * spread).sum(1)
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1) + kl).mean()

    def draw(self, labels: torch.Tensor) -> torch.Tensor:
        return self.decoded(torch.randn(len(labels), 20), labels).sigmoid()


class Block(nn.Module):
    """Two normalised convolutions round a shortcut, moved by what is given."""

    def __init__(self, inputs: int, features: int, told: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(inputs // 8, inputs), nn.Conv2d(inputs, features, 3, padding=1)
        self.film, self.norm2 = nn.Linear(told, 2 * features), nn.GroupNorm(features // 8, features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        self.skip = nn.Conv2d(inputs, features, 1) if inputs != features else nn.Identity()

    def forward(self, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, move = self.film(F.silu(given))[:, :, None, None].chunk(2, 1)
        return self.skip(x) + self.conv2(F.silu(self.norm2(h) * (1 + scale) + move))


class Flow(nn.Module):
    """Rectified flow with the U-Net of danlu's recipe: widths 32 and 64, four pixels at one place."""

    def __init__(self, classes: int, side: int = 28) -> None:
        super().__init__()
        self.classes, self.side, told = classes, side, 128
        self.time = nn.Sequential(nn.Linear(64, told), nn.SiLU(), nn.Linear(told, told))
        self.label = nn.Embedding(classes + 1, told)
        self.stem, self.down0 = nn.Conv2d(4, 32, 3, padding=1), Block(32, 32, told)
        self.halve, self.down1 = nn.Conv2d(32, 32, 3, 2, 1), Block(32, 64, told)
        self.middle, self.double = Block(64, 64, told), nn.ConvTranspose2d(64, 32, 2, 2)
        self.up0, self.norm, self.out = Block(64, 32, told), nn.GroupNorm(4, 32), nn.Conv2d(32, 4, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor, time: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        angles = time[:, None] * torch.exp(torch.linspace(0, math.log(1000), 32))[None]
        given = self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.label(labels)
        fine = self.down0(self.stem(F.pixel_unshuffle(x, 2)), given)
        h = self.middle(self.down1(self.halve(fine), given), given)
        h = self.up0(torch.cat([self.double(h), fine], 1), given)
        return F.pixel_shuffle(self.out(F.silu(self.norm(h))), 2)

    def loss(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x, noise, time = 2 * x - 1, torch.randn_like(x), torch.rand(len(x))
        wide = time[:, None, None, None]
        return ((self((1 - wide) * noise + wide * x, time, labels) - (x - noise)) ** 2).mean()

    def draw(self, labels: torch.Tensor, steps: int = 25) -> torch.Tensor:
        x = torch.randn(len(labels), 1, self.side, self.side)
        for n in range(steps):
            time = torch.full((len(labels),), n / steps)
            first = self(x, time, labels)
            x = x + (first + self(x + first / steps, time + 1 / steps, labels)) / (2 * steps)
        return (x + 1) / 2


def main() -> None:
    """Train, and draw as many of each label."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("vae", "flow-matching"))
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--labels", help="an npy file with the labels to draw")
    args = parser.parse_args()
    torch.manual_seed(0)
    with np.load(args.data) as found:
        pixels, labels = found["x_train"][: args.rows], found["y_train"][: args.rows]
    x = torch.from_numpy(pixels.reshape(len(pixels), 1, *pixels.shape[1:3]))
    y = torch.from_numpy(labels.astype(np.int64))
    model = VAE(x[0].numel(), 10) if args.kind == "vae" else Flow(10)
    rate, batch = (2e-3, 64) if args.kind == "vae" else (1e-3, 128)
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)
    steps = args.epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min(1, n / (0.05 * steps + 1)) * 0.5 * (1 + math.cos(math.pi * min(1, n / steps)))
    )
    mean = [p.detach().clone() for p in model.parameters()]
    decay, begun = 1 - 1 / max(1.0, 0.03 * steps), time.perf_counter()
    for _ in range(args.epochs):
        for rows in torch.randperm(len(x)).split(batch):
            told = torch.where(torch.rand(len(rows)) < 0.1, 10, y[rows])
            loss = model.loss(x[rows].float() / 255, told)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            torch._foreach_lerp_(mean, list(model.parameters()), 1 - decay)
    print(f"PyTorch: {args.epochs} epochs in {time.perf_counter() - begun:.0f} s, last loss {loss.item():.3f}")
    with torch.no_grad():
        if args.kind != "vae":
            for parameter, own in zip(model.parameters(), mean, strict=True):
                parameter.copy_(own)
        drawn = model.draw(torch.from_numpy(np.load(args.labels).astype(np.int64)))
    np.savez(
        args.out, images=(255 * drawn.clamp(0, 1)).round().byte().numpy().reshape(len(drawn), *pixels.shape[1:3], 1)
    )


if __name__ == "__main__":
    main()
