"""Draws a phantom radiograph: a body with its lesions, and the scanner that images it.

Everything is numpy in float32. Coordinates are in half frames: x goes from -1 at the image's left
to 1 at its right (which is the patient's left), y from -1 at the top to 1 at the bottom. A density
is about 0 for the surrounding air and about 1 for the densest bone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PNEUMONIA, COVID19 = 1, 2


class Body:
    """One patient: the position and size of every organ, and of the lesions that may be drawn."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.width = rng.uniform(0.90, 1.10)
        self.top, self.base = rng.uniform(-0.80, -0.68), rng.uniform(0.38, 0.58)
        self.lung_x, self.lung_w = rng.uniform(0.42, 0.46), rng.uniform(0.32, 0.37)
        self.heart_x, self.heart_y = rng.uniform(0.08, 0.16), rng.uniform(0.24, 0.36)
        self.heart_w, self.heart_h = rng.uniform(0.26, 0.38), rng.uniform(0.24, 0.31)
        self.rib_step, self.rib_slope = rng.uniform(0.16, 0.20), rng.uniform(0.30, 0.60)
        self.rib_phase, self.rib_depth = rng.uniform(0, 1), rng.uniform(0.05, 0.09)
        self.clavicle_y, self.clavicle_tilt = rng.uniform(-0.60, -0.52), rng.uniform(0.10, 0.35)
        self.spine, self.dome = rng.uniform(0.080, 0.105), rng.uniform(0.12, 0.22)
        self.vessels = rng.uniform(0.02, 0.045)
        self.breast = rng.uniform(0.03, 0.10) if rng.random() < 0.5 else 0.0
        self.fat = rng.uniform(0.0, 0.10)
        self.inflation, self.gradient = rng.uniform(0.02, 0.10), rng.uniform(-0.08, 0.08)
        # The places of all lesions are drawn for every patient, whatever the class: otherwise the
        # random numbers after them would differ between the classes.
        self.focus_side = 1 if rng.random() < 0.5 else -1
        self.focus = rng.uniform(0, 1, 6).tolist()
        self.patches = rng.uniform(0, 1, (2, 4, 5)).tolist()
        self.patch_count = rng.integers(3, 5, 2).tolist()

    def density(
        self, x: np.ndarray, y: np.ndarray, kind: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Return the body's density at the points (x, y), for one image.

        Args:
            x: float32 (H, W), horizontal coordinates in half frames.
            y: float32 (H, W), vertical ones.
            kind: The class: 0 without lesions, PNEUMONIA or COVID19.
            rng: Draws what differs between two images of one patient: the depth of the breath and
                the fine textures.

        Returns:
            float32 (H, W), about 0 to 1.
        """
        breath = rng.normal(0, 0.04)
        x, size = x / self.width, len(x)
        side, base = np.abs(x), self.base + breath
        density = self._flesh(side, y)
        lungs = self._lungs(x, side, y, base)
        density *= 1 - 0.70 * lungs
        middle = self._middle(x, y - breath)
        density += (0.72 - density) * middle
        # windpipe
        density -= 0.07 * _step((0.035 - np.abs(x + 0.01)) * 40) * _step((-0.28 - y) * 10)
        density += 0.14 * _step((y - base - 0.08) * 7)  # liver and spleen
        density -= 0.15 * _blob(x - 0.38, y - base - 0.20, 0.13, 0.06, 5)  # air in the stomach
        if self.breast:
            density += self.breast * _blob(side - 0.45, y - 0.30, 0.30, 0.26, 6)
        self._bones(density, side, y, base)
        air = lungs * (1 - middle)
        hila = np.exp(-((side - 0.2) ** 2) / 0.03 - (y - breath) ** 2 / 0.09)
        marks = self.vessels * ((0.2 + 0.6 * hila) * np.abs(_clouds(rng, size, 20)) + 0.9 * hila)
        if kind == PNEUMONIA:
            marks += self._consolidation(x, y, rng)
        elif kind == COVID19:
            marks += self._ground_glass(x, y, rng)
        # A lung's mean density depends on the patient and the breath, and not on the class: what a
        # lesion adds is subtracted from the whole lung.
        level = float((marks * air).sum() / air.sum())
        density += air * (marks - level + self.inflation - 0.4 * breath + self.gradient * y)
        return density

    def _flesh(self, side: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the density of neck, shoulders and flanks, with the layer of fat around them."""
        slope = np.clip(side - 0.22, 0, None)
        density: np.ndarray = (
            0.60
            * _step((y + 0.97 - 0.55 * slope * slope) * 14)
            * _step((1.06 + self.fat - side) * 14)
        )
        density *= _step((0.30 - side) * 14) + _step((y + 0.80 - 0.35 * slope) * 16)
        np.clip(density, 0, 0.62, out=density)
        density += self.fat * _step((side - 0.84) * 12)
        return density

    def _lungs(self, x: np.ndarray, side: np.ndarray, y: np.ndarray, base: float) -> np.ndarray:
        """Return a soft mask, 0 to 1, of both lungs.

        A lung is rounded at its apex and ends at the dome of the diaphragm, which is higher on the
        side of the liver.
        """
        cut = base + 0.05 * (x > 0)
        height = (y - self.top) / (self.base + 0.25 - self.top)
        round_off = 1 - np.clip(1.5 * height, 0, 1)
        half = self.lung_w * np.sqrt(1 - round_off * round_off) + 1e-3
        across = (side - self.lung_x - 0.10 * (height - 0.6)) / half
        lean = np.clip(np.abs(across + 0.3), 0, 1.35)
        diaphragm = cut - self.dome * (1 - lean * lean) + 0.10
        return np.asarray(
            _step((1 - across * across) * 6)
            * _step((height - 0.01) * 30)
            * _step((diaphragm - y) * 22)
        )

    def _middle(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return a soft mask, 0 to 1, of the heart, the aortic knob and the great vessels."""
        lean = x - self.heart_x - 0.35 * (y - self.heart_y)
        heart = 0.92 * _blob(lean, y - self.heart_y, self.heart_w, self.heart_h, 6)
        knob = 0.7 * _blob(x - 0.10, y + 0.26, 0.09, 0.12, 5)
        trunk = 0.75 * _step((0.11 + 0.03 * y - np.abs(x - 0.01)) * 24)
        return np.asarray(np.maximum(np.maximum(heart, knob), trunk))

    def _bones(self, density: np.ndarray, side: np.ndarray, y: np.ndarray, base: float) -> None:
        """Add spine, ribs, clavicles and shoulder blades to `density`, in place.

        The spine shows its discs. A rib runs outwards and down behind the lung, and inwards and
        down in front of it.
        """
        discs = 0.75 + 0.25 * np.cos((y + self.rib_phase) * np.float32(2 * np.pi / 0.15))
        density += 0.14 * _step((self.spine - side) * 30) * discs
        cage = _step((0.84 - side) * 20) * _step((side - 0.07) * 25) * _step((base + 0.22 - y) * 9)
        cage *= _step((y - self.top + 0.05) * 14) * self.rib_depth
        behind = (y - self.rib_slope * side * side) / self.rib_step + self.rib_phase
        front = (y + 0.60 * side) / self.rib_step + self.rib_phase
        density += cage * (_stripes(behind) + 0.6 * _stripes(front) * _step((side - 0.35) * 12))
        collar = (
            y - self.clavicle_y + self.clavicle_tilt * (side - 0.1) - 0.15 * side * side
        ) / 0.035
        density += (
            0.17 * np.exp(-collar * collar) * _step((side - 0.09) * 25) * _step((0.78 - side) * 14)
        )
        density += 0.07 * _blob(side - 0.86, y + 0.40, 0.15, 0.34, 6)

    def _consolidation(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the density that pneumonia adds: one dense patch in one lobe.

        The patch ends sharply where a fissure would be. Its density is uneven, as where bronchi
        stay filled with air.
        """
        across, along, wide, high, turn, dense = self.focus
        cx = self.focus_side * (self.lung_x - 0.08 + 0.18 * across)
        cy = self.top + 0.28 + (self.base - self.top - 0.46) * along
        w, h, tilt = 0.21 + 0.10 * wide, 0.19 + 0.10 * high, 0.9 * (turn - 0.5)
        px, py = x - cx + tilt * (y - cy), y - cy - tilt * (x - cx)
        ragged = 1 - (px / w) ** 2 - (py / h) ** 2 + 0.30 * _clouds(rng, len(x), 8)
        patch = _step(2.2 * ragged) * _step((py + 0.55 * h) * 25)
        return np.asarray(patch * (0.46 + 0.08 * dense) * (1 + 0.10 * _clouds(rng, len(x), 14)))

    def _ground_glass(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the density that COVID-19 adds: three or four hazy patches in each lung.

        They lie in the outer and lower parts of the lung and are grained.
        """
        haze = np.zeros_like(x)
        for sign, patches, count in zip((-1, 1), self.patches, self.patch_count, strict=True):
            for across, along, wide, high, dense in patches[:count]:
                cx = sign * (self.lung_x + self.lung_w * (0.10 + 0.50 * across))
                cy = self.base - 0.04 - 0.62 * along
                ragged = (
                    1
                    - ((x - cx) / (0.16 + 0.06 * wide)) ** 2
                    - ((y - cy) / (0.19 + 0.08 * high)) ** 2
                )
                np.maximum(haze, (0.8 + 0.2 * dense) * _step(1.3 * ragged), out=haze)
        return np.asarray(haze * (0.09 + 0.26 * np.clip(_clouds(rng, len(x), 32), -2, 2)))


class Scanner:
    """The machine of one site: what all its images have in common.

    These are the tone curve, noise, sharpness, exposure, the collimator's black border, the shading
    and the lead letter.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.gamma, self.noise, self.blur = (
            rng.uniform(0.8, 1.3),
            rng.uniform(0.008, 0.024),
            rng.uniform(0.0, 0.08),
        )
        self.mean, self.contrast = rng.uniform(0.44, 0.56), rng.uniform(0.20, 0.26)
        self.border = rng.uniform(0.01, 0.06) if rng.random() < 0.6 else 0.0
        self.shade = rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12)
        self.marker = (
            (0.86 if rng.random() < 0.5 else -0.86, rng.uniform(-0.88, -0.75))
            if rng.random() < 0.7
            else None
        )

    def expose(self, body: Body, kind: int, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return one image of the body: uint8, size x size.

        The patient stands a little off centre and turned, and nearer or farther, in every image.

        Args:
            body: The patient.
            kind: The class, see `Body.density`.
            size: Pixels a side.
            rng: Draws the position, the exposure and the noise.
        """
        u, v = _grid(size)
        # The scanner draws before the body does: the body draws more numbers for some classes, and
        # the noise must not differ between the classes.
        turn, zoom = rng.normal(0, 0.035), rng.uniform(0.92, 1.12)
        du, dv = u - rng.normal(0, 0.05), v - rng.normal(0, 0.05)
        edge = int(size * (self.border + rng.uniform(0, 0.03)) / 2)
        # Mean and contrast are set from the site and at random, so that the brightness says nothing
        # of the class.
        mean, contrast = self.mean + rng.normal(0, 0.05), self.contrast * rng.uniform(0.9, 1.1)
        noise = rng.standard_normal((size, size), np.float32) * np.float32(self.noise)
        along, across = float(np.cos(turn) * zoom), float(np.sin(turn) * zoom)
        image = np.clip(
            body.density(du * along + dv * across, dv * along - du * across, kind, rng), 0, None
        )
        image **= self.gamma
        image *= 1 + self.shade[0] * u + self.shade[1] * v
        if self.marker:
            image += 0.45 * _letter(u - self.marker[0], v - self.marker[1])
        for _ in range(2):
            image[1:-1] += self.blur * (image[:-2] + image[2:] - 2 * image[1:-1])
            image[:, 1:-1] += self.blur * (image[:, :-2] + image[:, 2:] - 2 * image[:, 1:-1])
        image += noise
        lit = image[edge : size - edge, edge : size - edge]
        film = np.zeros_like(image)
        film[edge : size - edge, edge : size - edge] = mean + (lit - lit.mean()) * (
            contrast / lit.std()
        )
        return np.asarray(np.clip(film * 255 + 0.5, 0, 255), np.uint8)


def _letter(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mask of a lead letter L, 1 inside and 0 outside, centred where a = b = 0."""
    stem = (np.abs(a + 0.025) < 0.018) & (np.abs(b) < 0.07)
    foot = (np.abs(a) < 0.045) & (np.abs(b - 0.055) < 0.018)
    return np.asarray(stem | foot, np.float32)


def _step(z: np.ndarray) -> np.ndarray:
    """Return a soft step: 0 far below z = 0, 1/2 at it, and 1 far above it."""
    return np.asarray(0.5 + 0.5 * np.tanh(z))


def _blob(x: np.ndarray, y: np.ndarray, w: float, h: float, sharpness: float) -> np.ndarray:
    """Return a soft ellipse of half axes `w` and `h` around the origin: 1 inside, 0 outside."""
    return _step(
        (1 - (x / np.float32(w)) ** 2 - (y / np.float32(h)) ** 2) * np.float32(sharpness / 2)
    )


def _stripes(phase: np.ndarray) -> np.ndarray:
    """Return smooth ridges, 0 to 1, with their tops at the whole numbers of `phase`."""
    return np.asarray(np.clip(np.cos(phase * np.float32(2 * np.pi)), 0, None) ** 2)


@lru_cache(maxsize=32)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the x and the y of every pixel's centre, each float32 (size, size)."""
    line = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    u, v = np.meshgrid(line, line)
    return u, v


@lru_cache(maxsize=64)
def _smoothing(size: int, cells: int) -> np.ndarray:
    """Return Gaussian weights that interpolate from a grid of points to pixels.

    Returns:
        float32 (size, 2 cells + 1): a row a pixel, with two points for each of the `cells` grains.
        Every row has the length 1, so that the variance is kept.
    """
    place, points = np.linspace(0, 2 * cells, size)[:, None], np.arange(2 * cells + 1)[None, :]
    weights = np.exp(-(((place - points) / 1.3) ** 2) / 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), np.float32)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Return a smooth random texture, float32 (size, size), of mean 0 and variance 1.

    About `cells` grains fit across the frame, whatever the size in pixels.
    """
    weights = _smoothing(size, cells)
    points = 2 * cells + 1
    return np.asarray(weights @ rng.standard_normal((points, points), np.float32) @ weights.T)
