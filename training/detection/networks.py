"""Parts of 3-D networks: plain convolutions that TensorRT, ONNX Runtime and OpenVINO all run natively."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
Kernel = int | tuple[int, int, int]
Widths = tuple[int, int, int, int]


def _same(kernel: Kernel) -> Kernel:
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)


class Convolution(nn.Sequential):
    """Convolution, batch normalisation (folded when exported), activation."""

    def __init__(
        self, before: int, after: int, activation: str, kernel: Kernel = 3, stride: Kernel = 1
    ) -> None:
        super().__init__(
            nn.Conv3d(before, after, kernel, stride, _same(kernel), bias=False),
            nn.BatchNorm3d(after, momentum=0.05),
            ACTIVATIONS[activation](),
        )


class Residual(nn.Module):
    def __init__(self, channels: int, activation: str, kernel: Kernel = 3) -> None:
        super().__init__()
        self.first = Convolution(channels, channels, activation, kernel)
        self.second = nn.Conv3d(channels, channels, kernel, 1, _same(kernel), bias=False)
        self.norm = nn.BatchNorm3d(channels, momentum=0.05)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.norm(self.second(self.first(x))))


class UNet(nn.Module):
    """A 3-D U-Net whose first convolution halves the grid; any size that is a multiple of 16.

    In: (batch, ``channels``, slice, row, column). Out: (batch, ``widths[0]``, half of each): features for
    heads.
    """

    def __init__(self, activation: str, widths: Widths, channels: int = 1) -> None:
        super().__init__()
        w = widths
        self.stem = nn.Sequential(Convolution(channels, w[0], activation, 3, 2), Residual(w[0], activation))
        self.down = nn.ModuleList(
            nn.Sequential(Convolution(w[i], w[i + 1], activation, 3, 2), Residual(w[i + 1], activation))
            for i in range(3)
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(w[i + 1], w[i], 2, 2) for i in (2, 1, 0))
        self.merge = nn.ModuleList(Convolution(2 * w[i], w[i], activation) for i in (2, 1, 0))

    def features(self, x: Tensor) -> Tensor:
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        y = levels.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            y = merge(torch.cat([up(y), levels.pop()], 1))
        return y


class DeepLab(nn.Module):
    """Takes and gives what ``UNet`` does; instead of a way back up through every level, dilated convolutions
    side by side on the third (DeepLab v3+, arXiv:1802.02611), without its pooling of the whole image, so
    that an answer does not depend on how much of the body was scanned."""

    def __init__(self, activation: str, widths: Widths, channels: int = 1) -> None:
        super().__init__()
        w = widths
        self.stem = nn.Sequential(Convolution(channels, w[0], activation, 3, 2), Residual(w[0], activation))
        self.down1 = nn.Sequential(Convolution(w[0], w[1], activation, 3, 2), Residual(w[1], activation))
        self.down2 = nn.Sequential(Convolution(w[1], w[2], activation, 3, 2), Residual(w[2], activation))
        self.wide = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(w[2], w[1], 3, 1, rate, rate, bias=False),
                nn.BatchNorm3d(w[1], momentum=0.05),
                ACTIVATIONS[activation](),
            )
            for rate in (1, 2, 4, 6)
        )
        self.joined = Convolution(4 * w[1] + w[2], w[2], activation, 1)
        self.up = nn.Sequential(
            nn.ConvTranspose3d(w[2], w[1], 2, 2),
            ACTIVATIONS[activation](),
            nn.ConvTranspose3d(w[1], w[0], 2, 2),
        )
        self.merge = Convolution(2 * w[0], w[0], activation)

    def features(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        coarse = self.down2(self.down1(fine))
        seen = self.joined(torch.cat([coarse, *(wide(coarse) for wide in self.wide)], 1))
        merged: Tensor = self.merge(torch.cat([self.up(seen), fine], 1))
        return merged


_RIM = 7


def seen_through(inside: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What lies within a mask and in the rim about it, (batch, channels) each: the mean within, the mean and
    the most in the rim. ``inside``: the mask's probabilities on the grid of ``features``."""
    within = (features * inside).mean((2, 3, 4)) / (inside.mean((2, 3, 4)) + 1e-4)
    rim = nn.functional.max_pool3d(inside, _RIM, 1, _RIM // 2) - inside
    at_rim = features * rim
    around = at_rim.mean((2, 3, 4)) / (rim.mean((2, 3, 4)) + 1e-4)
    return within, around, at_rim.amax((2, 3, 4))
