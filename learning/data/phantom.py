"""`phantom-cxr`: drawn chest radiographs, so that everything runs without a file. Not medical data; our own drawing.

Three classes: `normal`; `pneumonia`, one dense consolidation in one lobe; `covid19`, several faint ground-glass patches
in the outer lower parts of both lungs. Anatomy varies by patient, position and breathing by image, and the look by site
(scanner). Every image is brought to a mean and contrast drawn without regard to its class, so that brightness does not
tell.

An image depends only on (seed, part, patient, view) and its size, never on which other rows are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from learning.data.base import DataError, Dataset, Index, agreed

NAME = "phantom-cxr"
CLASSES = ("normal", "pneumonia", "covid19")
SITES = tuple(f"site-{letter}" for letter in "abcdefgh")
TRAIN_IMAGES = 3000  # about; a quarter as many to test
_PATIENT, _VIEW, _SITE, _TABLE = 1, 2, 3, 4  # streams of the seed


def open_phantom(spec: str, image_size: int, channels: int, seed: int, classes: Sequence[str] | None) -> Dataset:
    """`phantom-cxr` or `phantom-cxr:N`. Groups are patients (2 or 3 images each), `columns` has `site`; no patient
    is in both parts.
    """
    _, colon, number = spec.partition(":")
    if colon and not (number.isdecimal() and 3 <= int(number) <= 10**6):
        raise DataError(f"{spec!r}: after the colon stands the number of training images, 3 to 1000000.")
    count = int(number) if colon else TRAIN_IMAGES
    names = agreed(classes, CLASSES, NAME)
    parts = [
        _part(which, images, image_size, channels, seed) for which, images in enumerate((count, max(3, count // 4)))
    ]
    return Dataset(NAME, names, channels, image_size, *parts)


def _part(which: int, count: int, image_size: int, channels: int, seed: int) -> Index:
    patients = int(np.ceil(count / 2))
    rng = np.random.default_rng((seed, _TABLE, which))
    # thirds in random order: balanced for any number of patients; big sites see more patients than small ones
    patient_class = np.concatenate([rng.permutation(3) for _ in range(-(-patients // 3))])[:patients]
    share = np.linspace(2, 1, len(SITES))
    patient_site = rng.choice(len(SITES), patients, p=share / share.sum())
    patient = np.repeat(np.arange(patients), rng.integers(2, 4, patients))[:count]
    view = np.arange(count) - np.searchsorted(patient, patient)
    reader = _Reader(seed, which, patient, view, patient_class, patient_site, image_size)
    return Index(
        patient_class[patient].astype(np.int64),
        reader,
        image_size,
        channels,
        np.array([f"g{'te'[which != 0]}{p}" for p in patient]),
        {"site": [SITES[patient_site[p]] for p in patient]},
    )


@dataclass(frozen=True)
class _Reader:
    seed: int
    which: int
    patient: np.ndarray
    view: np.ndarray
    patient_class: np.ndarray
    patient_site: np.ndarray
    image_size: int

    def read(self, row: int) -> np.ndarray:
        p = int(self.patient[row])
        kind, site = int(self.patient_class[p]), int(self.patient_site[p])
        return draw(self.seed, self.which, p, int(self.view[row]), kind, site, self.image_size)

    def name(self, row: int) -> str:
        return f"{NAME}, image {row}"

    def stamp(self, row: int) -> str:
        return f"{NAME}-1:{self.seed}:{self.which}:{self.patient[row]}:{self.view[row]}"


@lru_cache(maxsize=16384)  # 64 MB at 64 x 64; hospitals of one process and baselines draw the same images
def draw(seed: int, which: int, patient: int, view: int, kind: int, site: int, size: int) -> np.ndarray:
    """One phantom, uint8, size x size. `kind`: position in CLASSES; `which`: 0 train, 1 test."""
    body = _Body(np.random.default_rng((seed, _PATIENT, which, patient)))
    rng = np.random.default_rng((seed, _VIEW, which, patient, view))
    scanner = _Scanner(np.random.default_rng((seed, _SITE, site)))
    u, v = _grid(size)
    angle, zoom = rng.normal(0, 0.035), rng.uniform(0.9, 1.1)
    dx, dy = rng.normal(0, 0.05), rng.normal(0, 0.05)
    x = ((u - dx) * np.float32(np.cos(angle)) + (v - dy) * np.float32(np.sin(angle))) * np.float32(zoom)
    y = ((v - dy) * np.float32(np.cos(angle)) - (u - dx) * np.float32(np.sin(angle))) * np.float32(zoom)
    density, lungs = body.draw(x, y, breath=rng.normal(0, 0.04), rng=rng)
    if kind == 1:
        density += body.consolidation(x, y, lungs, rng)
    elif kind == 2:
        density += body.ground_glass(x, y, lungs, rng)
    image = scanner.expose(density, u, v, rng)
    image.setflags(write=False)
    return image


class _Body:
    """One patient: where everything is, in units of half the frame; x to the image's right, y downwards."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.width = rng.uniform(0.88, 1.12)
        self.top, self.base = rng.uniform(-0.78, -0.66), rng.uniform(0.34, 0.56)
        self.lung_x, self.lung_w = rng.uniform(0.38, 0.44), rng.uniform(0.29, 0.35)
        self.heart_x, self.heart_y = rng.uniform(0.08, 0.17), rng.uniform(0.22, 0.34)
        self.heart_w, self.heart_h = rng.uniform(0.24, 0.36), rng.uniform(0.26, 0.34)
        self.rib_step, self.rib_slope, self.rib_phase = (
            rng.uniform(0.15, 0.19),
            rng.uniform(0.15, 0.4),
            rng.uniform(0, 1),
        )
        self.rib_depth = rng.uniform(0.05, 0.10)
        self.clavicle_y, self.clavicle_tilt = rng.uniform(-0.64, -0.56), rng.uniform(0.10, 0.35)
        self.spine = rng.uniform(0.085, 0.115)
        self.dome = rng.uniform(0.12, 0.24)
        self.vessels = rng.uniform(0.06, 0.13)
        self.breast = rng.uniform(0, 0.10) * (rng.random() < 0.5)
        self.fat = rng.uniform(0.0, 0.12)
        # lesions, drawn for every patient so that classes differ in nothing else
        self.focus_side, self.focus = rng.choice((-1.0, 1.0)), rng.uniform(0, 1, 6)
        self.patches = rng.uniform(0, 1, (2, 4, 5))
        self.patch_count = rng.integers(2, 5, 2)

    def draw(self, x, y, breath, rng) -> tuple[np.ndarray, np.ndarray]:
        """(density, the two lungs as soft masks): about 0 for air outside, 1 for the densest."""
        x = x / np.float32(self.width)
        side = np.abs(x)
        base = self.base + breath
        # soft tissue: neck, shoulders, flanks
        shoulder = -0.92 + 0.55 * np.clip(side - 0.25, 0, None) ** 1.5
        density = 0.62 * _step((y - shoulder) * 14) * _step((1.02 + self.fat - side) * 16)
        density += self.fat * _step((side - 0.82) * 12)
        lungs = np.zeros_like(x)
        for sign in (-1, 1):
            lungs += self._lung(x * sign, y, base + (0.05 if sign > 0 else 0.0))
        density *= 1 - 0.66 * lungs
        # the middle: heart (to the image's right), great vessels, spine with its discs
        heart = _blob(x - self.heart_x, y - self.heart_y - breath, self.heart_w, self.heart_h, 6)
        vessels = _step((0.11 + 0.03 * y - np.abs(x - 0.03)) * 22) * _step((y + 0.85) * 8)
        middle = np.maximum(heart * 0.9, vessels * 0.7)
        density += (0.74 - density) * middle * (y < base + 0.6)
        discs = 0.75 + 0.25 * np.cos((y + self.rib_phase) * np.float32(2 * np.pi / 0.15))
        density += 0.13 * _step((self.spine - side) * 30) * discs
        # abdomen under the diaphragm, a stomach bubble, breasts
        density += 0.16 * _step((y - base - 0.1) * 7)
        density -= 0.16 * _blob(x - 0.36, y - base - 0.22, 0.13, 0.07, 5)
        if self.breast:
            density += self.breast * _blob(side - 0.45, y - 0.32, 0.28, 0.24, 6)
        # bones: ribs behind run outwards and down, in front inwards and down; clavicles; shoulder blades
        cage = (
            _step((0.86 - side) * 18)
            * _step((side - 0.07) * 25)
            * _step((base + 0.22 - y) * 9)
            * _step((y + 0.82) * 12)
        )
        behind = (y - self.rib_slope * side + 0.45 * side * side) / np.float32(self.rib_step) + self.rib_phase
        front = (y + 0.55 * side - 0.1) / np.float32(self.rib_step) + self.rib_phase
        density += cage * self.rib_depth * (_stripes(behind) + 0.55 * _stripes(front) * _step((side - 0.3) * 12))
        collar = y - self.clavicle_y + self.clavicle_tilt * (side - 0.1)
        density += 0.15 * np.exp(-((collar / 0.035) ** 2)) * _step((side - 0.08) * 25) * _step((0.75 - side) * 14)
        density += 0.07 * _blob(side - 0.86, y + 0.42, 0.16, 0.34, 6)
        # lung markings: strongest at the hila, fading outwards
        size = len(x)
        hila = np.exp(-((side - 0.2) ** 2) / 0.03 - (y - 0.02) ** 2 / 0.09)
        density += lungs * self.vessels * ((0.35 + hila) * np.abs(_clouds(rng, size, 18)) + 0.9 * hila)
        density += lungs * 0.035 * _clouds(rng, size, 5)
        return density, lungs

    def _lung(self, x, y, base) -> np.ndarray:
        """One lung at positive x: narrow at the apex, cut by the dome of the diaphragm."""
        height = (y - self.top) / np.float32(base + 0.25 - self.top)
        half = self.lung_w * np.sqrt(np.clip(1 - (1 - np.clip(height * 1.15, 0, 1)) ** 2.2, 0, 1)) + 1e-3
        across = (x - self.lung_x - 0.05 * (height - 0.5)) / half
        diaphragm = base - self.dome * (1 - np.clip(np.abs(across + 0.25), 0, 1.3) ** 2) + 0.10
        return _step((1 - across * across) * 5) * _step((height - 0.01) * 30) * _step((diaphragm - y) * 22)

    def consolidation(self, x, y, lungs, rng) -> np.ndarray:
        """One dense patch in one lobe, sharper on the side of the fissure, air bronchograms in it."""
        f = self.focus
        x = x / np.float32(self.width)
        cx = self.focus_side * (self.lung_x - 0.12 + 0.24 * f[0])
        cy = self.top + 0.22 + (self.base - self.top - 0.36) * f[1]
        w, h = 0.15 + 0.08 * f[2], 0.13 + 0.09 * f[3]
        tilt = 0.8 * (f[4] - 0.5)
        px, py = x - cx + tilt * (y - cy), y - cy - tilt * (x - cx)
        patch = _blob(px, py, w, h, 3.5) * _step((py + h * 0.75) * 30)
        return patch * lungs * (0.26 + 0.1 * f[5]) * (1 + 0.18 * _clouds(rng, len(x), 16))

    def ground_glass(self, x, y, lungs, rng) -> np.ndarray:
        """Two to four faint, finely grained patches in each lung, outer and lower."""
        x = x / np.float32(self.width)
        haze = np.zeros_like(x)
        for side, sign in enumerate((-1.0, 1.0)):
            for a, b, c, d, e in self.patches[side, : self.patch_count[side]]:
                cx = sign * (self.lung_x + self.lung_w * (0.25 + 0.5 * a))
                cy = self.base - 0.02 - 0.62 * b
                haze = np.maximum(haze, (0.7 + 0.3 * e) * _blob(x - cx, y - cy, 0.08 + 0.06 * c, 0.09 + 0.08 * d, 2.5))
        grain = 1 + 0.55 * _clouds(rng, len(x), 28)
        return haze * lungs * 0.24 * grain


class _Scanner:
    """One site's machine: exposure, tone curve, grain, sharpness, collimator and the letter on the film."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.gamma = rng.uniform(0.75, 1.3)
        self.noise = rng.uniform(0.012, 0.04)
        self.blur = rng.uniform(0.0, 0.22)
        self.mean, self.contrast = rng.uniform(0.44, 0.56), rng.uniform(0.19, 0.25)
        self.border = rng.uniform(0.0, 0.06) * (rng.random() < 0.6)
        self.marker = rng.choice((-1.0, 1.0)) * 0.86, rng.uniform(-0.9, -0.75), rng.random() < 0.7
        self.shade = rng.uniform(-0.12, 0.12, 2)

    def expose(self, density, u, v, rng) -> np.ndarray:
        image = np.clip(density, 0, None) ** np.float32(self.gamma)
        image = image * (1 + self.shade[0] * u + self.shade[1] * v)
        image += self._marker(u, v)
        for _ in range(2):
            image[1:-1] += self.blur * (image[:-2] + image[2:] - 2 * image[1:-1])
            image[:, 1:-1] += self.blur * (image[:, :-2] + image[:, 2:] - 2 * image[:, 1:-1])
        image += rng.standard_normal(image.shape, np.float32) * np.float32(self.noise)
        open_field = (np.maximum(np.abs(u), np.abs(v)) < 1 - self.border - rng.uniform(0, 0.03)).astype(np.float32)
        # the class must not show in the brightness: mean and contrast come from the site and from chance
        mean, contrast = self.mean + rng.normal(0, 0.05), self.contrast * rng.uniform(0.9, 1.1)
        weight = open_field.sum()
        centre = (image * open_field).sum() / weight
        spread = np.sqrt((((image - centre) * open_field) ** 2).sum() / weight)
        image = (mean + (image - centre) * (contrast / spread)) * open_field
        return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)

    def _marker(self, u, v) -> np.ndarray | float:
        """A lead L in an upper corner."""
        x, y, there = self.marker
        if not there:
            return 0.0
        a, b = u - np.float32(x), v - np.float32(y)
        stem = (np.abs(a + 0.025) < 0.018) & (np.abs(b) < 0.07)
        foot = (np.abs(a) < 0.045) & (np.abs(b - 0.055) < 0.018)
        return (stem | foot).astype(np.float32) * 0.5


def _step(z: np.ndarray) -> np.ndarray:
    """A soft step from 0 to 1."""
    return 0.5 + 0.5 * np.tanh(z)


def _blob(x, y, w: float, h: float, sharpness: float) -> np.ndarray:
    """A soft ellipse: 1 inside, 0 outside."""
    return _step((1 - (x / np.float32(w)) ** 2 - (y / np.float32(h)) ** 2) * np.float32(sharpness / 2))


def _stripes(phase: np.ndarray) -> np.ndarray:
    """One smooth ridge per unit of phase."""
    return np.clip(np.cos(phase * np.float32(2 * np.pi)), 0, None) ** 2


@lru_cache(maxsize=32)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    u, v = np.meshgrid(line, line)
    return u, v


@lru_cache(maxsize=64)
def _upsampling(size: int, cells: int) -> np.ndarray:
    """size x (cells + 1) weights of a smooth interpolation of points on a regular grid."""
    place = np.linspace(0, cells, size, dtype=np.float64)
    left = np.minimum(place.astype(int), cells - 1)
    t = place - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, cells + 1), np.float32)
    weights[np.arange(size), left] = 1 - t
    weights[np.arange(size), left + 1] = t
    return weights


def _clouds(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth random texture with `cells` grains across the frame, whatever the size in pixels; mean 0."""
    weights = _upsampling(size, cells)
    return weights @ rng.standard_normal((cells + 1, cells + 1), np.float32) @ weights.T
