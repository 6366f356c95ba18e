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

    In: (batch, 1, slice, row, column). Out: (batch, ``widths[0]``, half of each): features for heads.
    """

    def __init__(self, activation: str, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        w = widths
        self.stem = nn.Sequential(Convolution(1, w[0], activation, 3, 2), Residual(w[0], activation))
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
