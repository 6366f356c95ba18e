"""What a detector makes of a beam that passed a chest: scatter, noise, blur, and a grey scale to read by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from training.phantoms.fields import Array

_WATER, _BONE = 0.0195, 0.052  # attenuation per mm about 70 keV


@dataclass(frozen=True)
class Film:
    """How a radiograph is exposed and shown.

    quanta: that reach an element of the detector where nothing is in the way. scatter: by the primary beam.
    blur_px: of focal spot and detector. sharpened: how much fine detail is raised. middle, wide: where
    middling grey lies, and how much goes from black to white. curve: how S-shaped the scale is.
    """

    quanta: float
    scatter: float
    blur_px: float
    sharpened: float
    middle: float
    wide: float
    curve: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, view: str, shifted: bool) -> Film:
        portable = view == "AP"
        quanta = np.exp(rng.normal(np.log(9000 if portable else 22000), 0.5))
        blur, sharpened = rng.uniform(0.35, 0.9) + 0.2 * portable, rng.uniform(0, 1.0)
        curve = rng.uniform(0.3, 1.2)
        if shifted:
            quanta *= 0.4
            blur, sharpened = (
                (rng.uniform(1.2, 1.6), 0.0) if rng.random() < 0.5 else (0.3, rng.uniform(1.4, 2))
            )
            curve = rng.choice([rng.uniform(0.0, 0.15), rng.uniform(1.3, 1.6)])
        return cls(
            quanta=float(quanta),
            scatter=float(rng.uniform(0.8, 2.0) if portable else rng.uniform(0.25, 0.8)),
            blur_px=float(blur),
            sharpened=float(sharpened),
            middle=float(rng.normal(0, 0.16 if not shifted else 0.25)),
            wide=float(rng.uniform(0.85, 1.35) if not shifted else rng.choice([0.8, 1.5])),
            curve=float(curve),
        )

    def exposed(self, soft: Array, bone: Array, field: Array, rng: np.random.Generator) -> Array:
        """Grey from 0 (black) to 1 of paths in water and compact bone, mm; ``field`` is the beam's, 0 to 1,
        where its shutters let it through."""
        primary = np.exp(-_WATER * soft - _BONE * bone) * field
        spread = 24
        small = primary[: len(primary) // 4 * 4, : primary.shape[1] // 4 * 4]
        small = np.minimum(small, 0.25).reshape(small.shape[0] // 4, 4, small.shape[1] // 4, 4).mean((1, 3))
        haze = ndimage.gaussian_filter(small, spread / 4, mode="nearest")
        haze = np.repeat(np.repeat(haze, 4, 0), 4, 1)
        haze = np.pad(haze, [(0, n - m) for n, m in zip(primary.shape, haze.shape, strict=True)], mode="edge")
        arrived = primary + self.scatter * ndimage.uniform_filter(haze, 5) + 2e-4
        arrived = ndimage.gaussian_filter(arrived, self.blur_px)
        noise = rng.standard_normal(arrived.shape, np.float32) * np.sqrt(arrived / self.quanta)
        depth = -np.log(np.maximum(arrived + ndimage.gaussian_filter(noise, 0.4), 1e-5))
        if self.sharpened:
            depth = depth + self.sharpened * (depth - ndimage.gaussian_filter(depth, 5))
        low, high = np.percentile(depth[field > 0.5], (12, 96))
        shown = (depth - low) / (high - low) - 0.5
        shown = (shown - 0.2 * self.middle) / self.wide
        curved = np.tanh((1 + self.curve) * shown) / np.tanh((1 + self.curve) * 0.5) / 2
        return np.asarray(np.clip(0.5 + curved, 0, 1), np.float32)
