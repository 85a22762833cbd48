"""How a phantom is drawn: a body with its lesions, and the scanner that takes its picture. Pure
numpy, float32.

Lengths are in half frames: x from -1 to 1 to the image's right (the patient's left), y from -1 to 1
downwards. Densities are about 0 for the air around and 1 for the densest bone.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PNEUMONIA, COVID19 = 1, 2


class Body:
    """One patient: where everything is and how large, lesions included."""

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
        # every patient has places for lesions; the class says which are drawn, so that nothing else
        # differs
        self.focus_side = 1 if rng.random() < 0.5 else -1
        self.focus = rng.uniform(0, 1, 6).tolist()
        self.patches = rng.uniform(0, 1, (2, 4, 5)).tolist()
        self.patch_count = rng.integers(3, 5, 2).tolist()

    def density(
        self, x: np.ndarray, y: np.ndarray, kind: int, rng: np.random.Generator
    ) -> np.ndarray:
        """The body at the points (x, y), one breath and one roll of the fine textures."""
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
        # How dark a lung is on the whole comes from the patient and the breath, not from the class:
        # what a lesion adds is taken away from the rest.
        level = float((marks * air).sum() / air.sum())
        density += air * (marks - level + self.inflation - 0.4 * breath + self.gradient * y)
        return density

    def _flesh(self, side: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Neck, shoulders and flanks."""
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
        """Both lungs as one soft mask: rounded at the apex, cut by the domes of the diaphragm (the
        liver's side is higher).
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
        """Heart, aortic knob and great vessels, 0 to 1."""
        lean = x - self.heart_x - 0.35 * (y - self.heart_y)
        heart = 0.92 * _blob(lean, y - self.heart_y, self.heart_w, self.heart_h, 6)
        knob = 0.7 * _blob(x - 0.10, y + 0.26, 0.09, 0.12, 5)
        trunk = 0.75 * _step((0.11 + 0.03 * y - np.abs(x - 0.01)) * 24)
        return np.asarray(np.maximum(np.maximum(heart, knob), trunk))

    def _bones(self, density: np.ndarray, side: np.ndarray, y: np.ndarray, base: float) -> None:
        """Spine with its discs; ribs, behind outwards and down, in front inwards and down;
        clavicles; shoulder blades.
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
        """One dense patch in one lobe, cut off where a fissure would be, uneven where bronchi stay
        open in it.
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
        """Three or four grained patches in each lung, outer and lower."""
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
    """One site's machine: tone curve, grain, sharpness, exposure, collimator, and the letter on the
    film.
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
        """One picture of the body, uint8, size x size: positioned by hand, so a little off centre,
        turned and near or far.
        """
        u, v = _grid(size)
        # all of chance that is not the body's comes first, so that no class has other noise
        turn, zoom = rng.normal(0, 0.035), rng.uniform(0.92, 1.12)
        du, dv = u - rng.normal(0, 0.05), v - rng.normal(0, 0.05)
        edge = int(size * (self.border + rng.uniform(0, 0.03)) / 2)
        # nor may the class show in the brightness: mean and contrast come from the site and from
        # chance
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
    """A lead L."""
    stem = (np.abs(a + 0.025) < 0.018) & (np.abs(b) < 0.07)
    foot = (np.abs(a) < 0.045) & (np.abs(b - 0.055) < 0.018)
    return np.asarray(stem | foot, np.float32)


def _step(z: np.ndarray) -> np.ndarray:
    """A soft step from 0 to 1."""
    return np.asarray(0.5 + 0.5 * np.tanh(z))


def _blob(x: np.ndarray, y: np.ndarray, w: float, h: float, sharpness: float) -> np.ndarray:
    """A soft ellipse: 1 inside, 0 outside."""
    return _step(
        (1 - (x / np.float32(w)) ** 2 - (y / np.float32(h)) ** 2) * np.float32(sharpness / 2)
    )


def _stripes(phase: np.ndarray) -> np.ndarray:
    """One smooth ridge per unit of phase."""
    return np.asarray(np.clip(np.cos(phase * np.float32(2 * np.pi)), 0, None) ** 2)


@lru_cache(maxsize=32)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    u, v = np.meshgrid(line, line)
    return u, v


@lru_cache(maxsize=64)
def _smoothing(size: int, cells: int) -> np.ndarray:
    """size x (2 cells + 1) Gaussian weights of a grid of points that is twice as fine as the
    grains; rows of length 1.
    """
    place, points = np.linspace(0, 2 * cells, size)[:, None], np.arange(2 * cells + 1)[None, :]
    weights = np.exp(-(((place - points) / 1.3) ** 2) / 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), np.float32)


def _clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth random texture with about `cells` grains across the frame, whatever the size in
    pixels; mean 0, variance 1.
    """
    weights = _smoothing(size, cells)
    points = 2 * cells + 1
    return np.asarray(weights @ rng.standard_normal((points, points), np.float32) @ weights.T)
