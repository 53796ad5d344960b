"""The reference of `bench_gpu.py` in PyTorch alone: the same network, loss and optimizer, without Keras."""

from itertools import pairwise
from typing import Any

import torch
from gpu.networks import Network
from gpu.rows import LEARNING_RATE, SEED, Clock, Row, lay_out
from torch import nn


class UNet(nn.Module):
    """The product's network, or where `padded` is false that of `gpu.networks.unpadded_unet`."""

    def __init__(self, filters: int, levels: int, padded: bool) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(levels + 1)]
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            _block(before, width, padded) for before, width in zip([1, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(_up(below, width, padded) for width, below in pairs)
        self.merge = nn.ModuleList(_block(2 * width, width, padded) for width in widths[:-1])
        self.pool, self.dropout, self.head = (
            nn.MaxPool2d(2),
            nn.Dropout(0.0 if padded else 0.5),
            nn.Conv2d(filters, 1, 1),
        )

    def forward(self, image: Any) -> Any:
        x, skips = image, []
        for block in self.down[:-1]:
            skips.append(block(x))
            x = self.pool(skips[-1])
        x = self.dropout(self.down[-1](x))
        for up, merge in reversed(list(zip(self.up, self.merge, strict=True))):
            x, skip = up(x), skips.pop()
            border = (skip.shape[-1] - x.shape[-1]) // 2
            x = merge(torch.cat([nn.functional.pad(skip, [-border] * 4), x], dim=1))
        logits = self.head(x)
        return nn.functional.pad(logits, [(image.shape[-1] - logits.shape[-1]) // 2] * 4)


def _block(before: int, width: int, padded: bool) -> nn.Sequential:
    if not padded:
        return nn.Sequential(nn.Conv2d(before, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
    convolutions = (nn.Conv2d(taken, width, 3, padding=1, bias=False) for taken in (before, width))
    return nn.Sequential(*(part for conv in convolutions for part in (conv, nn.BatchNorm2d(width), nn.ReLU())))


def _up(below: int, width: int, padded: bool) -> nn.Module:
    if padded:
        return nn.ConvTranspose2d(below, width, 2, stride=2)
    return nn.Sequential(nn.ConvTranspose2d(below, width, 3, stride=2, padding=1, output_padding=1), nn.ReLU())


def _loss(logits: Any, truth: Any) -> Any:
    """As `modules.training.losses.DiceCrossEntropy`."""
    logits = logits.float()
    probability = torch.sigmoid(logits)
    intersection = (truth * probability).sum((1, 2, 3))
    areas = (truth**2 + probability**2).sum((1, 2, 3))
    dice = 1 - (2 * intersection + 1) / (areas + 1)
    return (dice.mean() + nn.functional.binary_cross_entropy_with_logits(logits, truth)) / 2


def train(row: Row, network: Network, clock: Clock) -> float:
    """Train on one device, and return the peak megabytes of a GPU, or 0."""
    device = "cuda" if row.gpu else "cpu"
    torch.manual_seed(SEED)
    # As TensorFlow and JAX multiply where single precision is asked for.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    model = UNet(network.filters, network.levels, network.padded).to(device, memory_format=torch.channels_last)
    forward = torch.compile(model) if row.compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    scaler = torch.amp.GradScaler(device, enabled=row.precision == "float16")
    batches = lay_out(row, network, lambda pixels: torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device))

    def step(images: Any, truth: Any) -> Any:
        with torch.autocast(device, getattr(torch, row.precision), enabled=row.precision != "float32"):
            logits = forward(images)
        loss = _loss(logits, truth)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    while not clock.add([float(loss) for loss in [step(*batch) for batch in batches]]):
        pass
    return torch.cuda.max_memory_allocated() / 2**20 if row.gpu else 0.0
