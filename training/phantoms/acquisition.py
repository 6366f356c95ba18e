"""What a scanner makes of Hounsfield units: blur, slice profile, grain, and a patient who moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from inference.volume import Volume
from training.phantoms.fields import Array, Grid


@dataclass(frozen=True)
class Scan:
    """How a scan is acquired.

    blur_mm: sigma of the in-plane point spread (a lung kernel 0.35, a soft one 0.9).
    thickness_mm: slice thickness. noise_hu: standard deviation of the grain in soft tissue.
    grain_mm: how long a grain is; short and ringing for a sharp kernel.
    contrast_hu: added to blood. motion_mm: how far the lower chest moved.
    """

    blur_mm: float = 0.55
    thickness_mm: float = 1.0
    noise_hu: float = 22.0
    grain_mm: float = 0.6
    contrast_hu: float = 0.0
    motion_mm: float = 0.0

    @classmethod
    def drawn(cls, rng: np.random.Generator, shifted: bool = False) -> Scan:
        """A scan as sites make them; ``shifted`` lies outside: noisier, softer or sharper, thicker."""
        sharp = rng.random()
        if shifted:
            sharp = rng.choice([-0.25, 1.2])
        return cls(
            blur_mm=float(0.95 - 0.6 * sharp),
            thickness_mm=float(
                rng.choice([0.6, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0], p=[0.1, 0.3, 0.2, 0.12, 0.13, 0.1, 0.05])
            )
            if not shifted
            else float(rng.choice([0.75, 1.5, 3.75])),
            noise_hu=float(rng.uniform(8, 34) * (0.7 + 0.9 * max(sharp, 0)) * (1.35 if shifted else 1)),
            grain_mm=float(1.1 - 0.7 * sharp),
            contrast_hu=float(rng.choice([0, rng.uniform(60, 260)], p=[0.6, 0.4])),
            motion_mm=float(max(0, rng.normal(0, 1.0))),
        )

    def acquire(self, hu: Array, grid: Grid, rng: np.random.Generator) -> Array:
        """``hu`` as scanned and reconstructed on the same grid, clipped at -1024."""
        return self.grained(self.blurred(hu, grid), grid, rng)

    def blurred(self, hu: Array, grid: Grid) -> Array:
        """The point spread alone. Voxels blur by their own size already; only the rest is added."""
        dz, dy, dx = grid.spacing_mm
        out = hu
        motion = self.motion_mm * 0.5
        for axis, sigma, step in (
            (0, np.hypot(self.thickness_mm * 0.42, motion), dz),
            (1, self.blur_mm, dy),
            (2, self.blur_mm, dx),
        ):
            extra = np.sqrt(max(sigma**2 - (0.29 * step) ** 2, 0)) / step
            if extra > 0.15:
                out = ndimage.gaussian_filter1d(out, extra, axis, mode="nearest")
        return out

    def grained(self, hu: Array, grid: Grid, rng: np.random.Generator) -> Array:
        """Correlated noise: its spectrum rises from zero and ends at the kernel's cut-off; thick slices and
        large voxels average it away."""
        white = rng.standard_normal(hu.shape, np.float32)
        dz, dy, dx = grid.spacing_mm
        sigma = [self.thickness_mm * 0.3 / dz, self.grain_mm * 0.6 / dy, self.grain_mm * 0.6 / dx]
        fine = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=2.5)
        coarse = ndimage.gaussian_filter(fine, [0, 2.2 / dy, 2.2 / dx], mode="wrap", truncate=2.0)
        grain = fine - 0.75 * coarse
        grain *= self.noise_hu / max(float(grain.std()), 1e-6)
        averaged = min(1.0, 1.2 / float(np.mean(grid.spacing_mm)))
        out = hu + grain * np.float32(averaged)
        return np.maximum(out, -1024, out=out)


def stored(hu: Array) -> npt.NDArray[np.int16]:
    """As a scanner stores them: whole HU in 12 bits, from -1024 to 3071."""
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def as_series(hu: Array, grid: Grid) -> Volume:
    """HU on ``grid``, stored, as a series whose images nobody has sent."""
    return Volume(stored(hu), grid.affine, "phantom", "phantom", (None,) * len(hu))
