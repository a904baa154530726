"""Nine species as data: outline, fins, markings, palettes. `brush.py` draws from it.

A fish lives in its own frame: x runs from 0 at the snout to 1 at the tip of the tail, y points
to the back, in body lengths; v is y over the half height there (1 back, -1 belly).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]  # float32, to be quick
Points = tuple[tuple[float, float], ...]
RGB = tuple[float, float, float]
Mark = Callable[[Array, Array, Generator], Array]  # x (H, W), v (H, W) -> cover (H, W) in 0..1

BLACK, WHITE, GOLD, BLUE, BROWN = (
    (0.07, 0.07, 0.08),
    (0.96, 0.95, 0.92),
    (0.88, 0.66, 0.16),
    (0.30, 0.48, 0.75),
    (0.34, 0.20, 0.12),
)
RUST, DUSK = (0.72, 0.24, 0.14), (0.22, 0.25, 0.26)
TAIL = 0.88  # where the body ends, inside the root of the tail fin

# back, flank, belly and fins
PALETTES: dict[str, tuple[RGB, RGB, RGB, RGB]] = {
    "steel": ((0.15, 0.22, 0.28), (0.62, 0.66, 0.66), (0.88, 0.87, 0.82), (0.45, 0.48, 0.48)),
    "silver": ((0.34, 0.35, 0.34), (0.68, 0.67, 0.62), (0.88, 0.86, 0.80), (0.50, 0.49, 0.46)),
    "olive": ((0.14, 0.16, 0.07), (0.40, 0.42, 0.22), (0.70, 0.68, 0.46), (0.34, 0.34, 0.20)),
    "rose": ((0.64, 0.34, 0.36), (0.86, 0.60, 0.60), (0.94, 0.82, 0.80), (0.80, 0.52, 0.52)),
    "red": ((0.58, 0.16, 0.12), (0.80, 0.36, 0.26), (0.90, 0.66, 0.56), (0.78, 0.38, 0.26)),
    "orange": ((0.64, 0.30, 0.08), (0.86, 0.50, 0.16), (0.92, 0.68, 0.34), (0.82, 0.46, 0.14)),
}


@dataclass(frozen=True)
class Sail:
    """A fin along the outline, from x = start to end; shape gives its height over that way."""

    start: float
    end: float
    height: float
    shape: Points = ((0, 0.2), (0.15, 1), (0.6, 0.7), (1, 0.35))
    side: int = 1  # 1 on the back, -1 under the belly
    slant: float = 0.7
    rays: int = 14
    jag: float = 0.25  # how far the skin is cut in between two spines


@dataclass(frozen=True)
class Fan:
    """A fin spread from one point: a tail, or one of a pair; angles in degrees, 0 to the tail."""

    x: float
    v: float
    length: float
    angle: float = 0.0
    spread: float = 30.0
    fork: float = 0.0
    rays: int = 9
    over: bool = False  # drawn upon the body


@dataclass(frozen=True)
class Whisker:
    """A tapering, curling thread: barbel, feeler, leg or spike."""

    x: float
    v: float
    length: float
    angle: float
    width: float = 0.005
    curl: float = 0.0


@dataclass(frozen=True)
class Species:
    """What tells one species from another; sizes in body lengths."""

    back: Points
    belly: Points
    palettes: tuple[str, ...]  # one named twice is twice as frequent
    fins: tuple[Sail | Fan | Whisker, ...]
    eye: tuple[float, float, float]  # x, v, radius
    gill: float
    marks: tuple[tuple[RGB, float, Mark], ...] = ()  # colour, strength, cover
    scales: float = 90.0  # rows in a body length, 0 for none
    bend: float = 0.45  # largest curvature, in radians of turn from end to end
    arch: float = 0.0  # curvature it always has
    iris: RGB = (0.72, 0.67, 0.50)


def smooth(a: Array, low: float, high: float) -> Array:
    """Ramp from 0 at ``low`` to 1 at ``high`` without a kink."""
    t = np.clip((a - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def stripes(rows: tuple[float, ...], width: float, x0: float = 0.2, x1: float = 0.85) -> Mark:
    """Lines along the body at the given v."""

    def cover(x: Array, v: Array, rng: Generator) -> Array:
        wave = v + 0.03 * np.sin(x * 21 + rng.uniform(0, 6))
        line = sum(np.exp(-(((wave - row) / width) ** 2)) for row in rows)
        return np.asarray(line * smooth(x, x0, x0 + 0.06) * (1 - smooth(x, x1, x1 + 0.05)))

    return cover


def bars(count: int, x0: float, x1: float, width: float, lean: float = 0.02) -> Mark:
    """Bars (or the joints of a shell) across the body between x0 and x1."""

    def cover(x: Array, v: Array, rng: Generator) -> Array:
        where = np.linspace(x0, x1, count) + rng.normal(0, 0.004, count)
        bow = x + lean * (1 - v * v)
        return np.asarray(sum(np.exp(-(((bow - at) / width) ** 2)) for at in where))

    return cover


def spots(
    count: int, size: float, v0: float, v1: float, x0: float = 0.05, x1: float = 0.86
) -> Mark:
    """Scattered round spots."""

    def cover(x: Array, v: Array, rng: Generator) -> Array:
        out = np.zeros_like(x)
        for _ in range(count):
            at, row, wide = rng.uniform(x0, x1), rng.uniform(v0, v1), size * rng.uniform(0.6, 1.3)
            near = np.abs(x - at) < 1.5 * wide
            d = ((x[near] - at) / wide) ** 2 + ((v[near] - row) * 0.13 / wide) ** 2
            out[near] = np.maximum(out[near], 1 - smooth(d, 0.5, 1.2))
        return out

    return cover


def patch(at: float, row: float, wide: float, high: float, soft: float = 0.6) -> Mark:
    """One oval patch; ``wide`` in body lengths, ``high`` in v."""

    def cover(x: Array, v: Array, rng: Generator) -> Array:
        d = ((x - at) / wide) ** 2 + ((v - row) / high) ** 2
        return 1 - smooth(np.asarray(d), 1 - soft, 1 + soft)

    return cover


def paired(x: float, pelvic: float, length: float = 0.15) -> tuple[Fan, Fan]:
    """The pectoral fin behind the gill at ``x`` and the pelvic fin under ``pelvic``."""
    return (
        Fan(x, -0.25, length, angle=-14, spread=13, over=True),
        Fan(pelvic, -0.8, 0.03 + 0.65 * length, angle=-32, spread=21),
    )


def legs(start: float, end: float, count: int, length: float, angle: float) -> tuple[Whisker, ...]:
    """A row of legs under a shrimp."""
    places = np.linspace(start, end, count)
    return tuple(Whisker(float(x), -0.75, length, angle, 0.009, 1.5) for x in places)


SPECIES: dict[str, Species] = {
    "Black Sea Sprat": Species(
        back=((0, 0.01), (0.1, 0.05), (0.3, 0.085), (0.5, 0.085), (0.84, 0.028)),
        belly=((0, 0.02), (0.1, 0.06), (0.35, 0.115), (0.55, 0.1), (0.84, 0.028)),
        palettes=("steel", "steel", "silver"),
        fins=(
            Sail(0.47, 0.6, 0.07, ((0, 0.3), (0.2, 1), (1, 0.25))),
            Sail(0.62, 0.8, 0.025, side=-1),
            Fan(0.84, 0, 0.17, spread=34, fork=0.62, rays=11),
            *paired(0.24, 0.5, 0.1),
        ),
        eye=(0.075, 0.15, 0.021),
        gill=0.2,
        scales=75,
        marks=((DUSK, 0.55, stripes((0.8,), 0.25, 0.1)),),
    ),
    "Gilt-Head Bream": Species(
        back=((0, 0.03), (0.08, 0.1), (0.2, 0.155), (0.36, 0.175), (0.6, 0.125), (0.82, 0.035)),
        belly=((0, 0.03), (0.1, 0.09), (0.3, 0.145), (0.5, 0.13), (0.82, 0.035)),
        palettes=("silver", "steel", "olive"),
        fins=(
            Sail(0.28, 0.74, 0.075),
            Sail(0.58, 0.73, 0.05, side=-1),
            Fan(0.83, 0, 0.18, spread=36, fork=0.5, rays=13),
            *paired(0.29, 0.36, 0.24),
        ),
        eye=(0.125, 0.3, 0.028),
        gill=0.255,
        scales=62,
        marks=(
            (GOLD, 0.9, patch(0.075, 0.75, 0.022, 0.4)),
            (BLACK, 0.6, patch(0.27, 0.42, 0.03, 0.16)),
            (DUSK, 0.25, stripes((-0.5, -0.3, -0.1, 0.1, 0.3, 0.5), 0.06, 0.27)),
        ),
    ),
    "Hourse Mackerel": Species(
        back=((0, 0.015), (0.12, 0.08), (0.35, 0.115), (0.6, 0.075), (0.8, 0.018)),
        belly=((0, 0.02), (0.12, 0.07), (0.35, 0.115), (0.6, 0.08), (0.8, 0.018)),
        palettes=("olive", "olive", "steel", "silver"),
        fins=(
            Sail(0.34, 0.46, 0.075),
            Sail(0.48, 0.79, 0.055, ((0, 0.3), (0.1, 1), (0.35, 0.4), (1, 0.2))),
            Sail(0.52, 0.79, 0.05, ((0, 0.3), (0.1, 1), (0.35, 0.4), (1, 0.2)), side=-1),
            Fan(0.82, 0, 0.19, spread=36, fork=0.68, rays=11),
            *paired(0.28, 0.34, 0.2),
        ),
        eye=(0.105, 0.25, 0.032),
        gill=0.245,
        scales=100,
        marks=(
            (BLACK, 0.8, patch(0.25, 0.3, 0.014, 0.13)),
            (WHITE, 0.5, stripes((0.02,), 0.1, 0.5)),
            (DUSK, 0.6, bars(26, 0.42, 0.82, 0.007)),
        ),
    ),
    "Red Mullet": Species(
        back=((0, 0.02), (0.05, 0.085), (0.15, 0.125), (0.35, 0.13), (0.6, 0.085), (0.84, 0.035)),
        belly=((0, 0.04), (0.1, 0.07), (0.35, 0.095), (0.6, 0.075), (0.84, 0.035)),
        palettes=("red", "rose", "orange"),
        fins=(
            Sail(0.28, 0.42, 0.1, jag=0.35),
            Sail(0.55, 0.69, 0.065),
            Sail(0.58, 0.69, 0.05, side=-1),
            Fan(0.84, 0, 0.18, spread=32, fork=0.6, rays=11),
            Whisker(0.06, -0.9, 0.14, -25, 0.008, 0.8),
            *paired(0.25, 0.27, 0.16),
        ),
        eye=(0.11, 0.52, 0.024),
        gill=0.225,
        scales=46,
        marks=((RUST, 0.5, spots(14, 0.03, -0.3, 0.8, 0.2)),),
    ),
    "Red Sea Bream": Species(
        back=((0, 0.03), (0.08, 0.09), (0.2, 0.145), (0.38, 0.165), (0.62, 0.11), (0.82, 0.035)),
        belly=((0, 0.03), (0.1, 0.08), (0.3, 0.13), (0.5, 0.12), (0.82, 0.035)),
        palettes=("rose", "red", "silver"),
        fins=(
            Sail(0.27, 0.76, 0.085, jag=0.35),
            Sail(0.57, 0.75, 0.055, side=-1),
            Fan(0.83, 0, 0.19, spread=34, fork=0.48, rays=13),
            *paired(0.29, 0.36, 0.26),
        ),
        eye=(0.13, 0.32, 0.04),
        gill=0.265,
        scales=62,
        marks=(
            (BLUE, 0.7, spots(40, 0.008, 0.0, 0.9, 0.25, 0.75)),
            (BROWN, 0.5, stripes((-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8), 0.05, 0.27)),
        ),
    ),
    "Sea Bass": Species(
        back=((0, 0.012), (0.12, 0.065), (0.3, 0.115), (0.5, 0.11), (0.82, 0.042)),
        belly=((0, 0.02), (0.12, 0.055), (0.35, 0.095), (0.55, 0.09), (0.82, 0.042)),
        palettes=("silver", "silver", "steel", "olive"),
        fins=(
            Sail(0.33, 0.52, 0.075, jag=0.4, rays=9),
            Sail(0.56, 0.72, 0.07, ((0, 0.7), (0.15, 1), (1, 0.35))),
            Sail(0.6, 0.73, 0.06, ((0, 0.4), (0.2, 1), (1, 0.3)), side=-1),
            Fan(0.84, 0, 0.16, spread=34, fork=0.3, rays=13),
            *paired(0.28, 0.31, 0.14),
        ),
        eye=(0.12, 0.35, 0.019),
        gill=0.255,
        scales=85,
        marks=(
            (DUSK, 0.5, stripes((0.22,), 0.035, 0.26)),
            (BLACK, 0.45, patch(0.25, 0.35, 0.016, 0.15)),
        ),
    ),
    "Shrimp": Species(
        back=((0.05, 0.03), (0.2, 0.065), (0.36, 0.085), (0.6, 0.075), (0.86, 0.022)),
        belly=((0.05, 0.025), (0.2, 0.06), (0.36, 0.07), (0.6, 0.06), (0.86, 0.02)),
        palettes=("orange", "rose", "silver"),
        fins=(
            Whisker(0.1, 0.5, 0.2, 172, 0.014),
            Whisker(0.07, 0.0, 0.75, 150, 0.004, -1.1),
            Whisker(0.07, -0.3, 0.6, 200, 0.004, 1.2),
            *legs(0.14, 0.36, 5, 0.17, -70),
            *legs(0.42, 0.72, 5, 0.08, -60),
            Fan(0.86, 0.0, 0.13, spread=14, rays=3),
            Fan(0.86, 0.3, 0.14, angle=24, spread=15, rays=3),
            Fan(0.86, -0.3, 0.14, angle=-24, spread=15, rays=3),
        ),
        eye=(0.095, 0.35, 0.014),
        gill=0.37,
        scales=0,
        marks=(
            (BROWN, 0.5, bars(6, 0.4, 0.84, 0.006, -0.025)),
            (WHITE, 0.35, bars(6, 0.42, 0.86, 0.008, -0.025)),
        ),
        bend=0.9,
        arch=1.1,
        iris=BLACK,
    ),
    "Striped Red Mullet": Species(
        back=((0, 0.015), (0.08, 0.07), (0.2, 0.11), (0.36, 0.12), (0.6, 0.085), (0.84, 0.036)),
        belly=((0, 0.03), (0.1, 0.065), (0.35, 0.095), (0.6, 0.075), (0.84, 0.036)),
        palettes=("rose", "orange", "silver"),
        fins=(
            Sail(0.28, 0.42, 0.1, jag=0.35),
            Sail(0.55, 0.69, 0.065),
            Sail(0.58, 0.69, 0.05, side=-1),
            Fan(0.84, 0, 0.18, spread=32, fork=0.55, rays=11),
            Whisker(0.06, -0.9, 0.15, -25, 0.008, 0.8),
            *paired(0.25, 0.27, 0.16),
        ),
        eye=(0.125, 0.5, 0.022),
        gill=0.235,
        scales=50,
        marks=(
            (GOLD, 0.75, stripes((-0.35, 0.0, 0.3), 0.07)),
            (RUST, 0.6, stripes((0.55,), 0.1, 0.15)),
        ),
    ),
    "Trout": Species(
        back=((0, 0.015), (0.1, 0.07), (0.35, 0.125), (0.55, 0.12), (0.83, 0.05)),
        belly=((0, 0.02), (0.1, 0.065), (0.35, 0.125), (0.55, 0.12), (0.83, 0.05)),
        palettes=("olive", "silver", "rose"),
        fins=(
            Sail(0.44, 0.58, 0.075, ((0, 0.6), (0.15, 1), (1, 0.5)), jag=0.05),
            Sail(0.73, 0.77, 0.035, ((0, 0.6), (0.6, 1), (1, 0.8)), slant=1.5, rays=1, jag=0),
            Sail(0.64, 0.75, 0.06, ((0, 0.6), (0.3, 1), (1, 0.4)), side=-1, jag=0.05),
            Fan(0.83, 0, 0.16, spread=36, fork=0.16, rays=15),
            *paired(0.25, 0.5, 0.13),
        ),
        eye=(0.1, 0.35, 0.017),
        gill=0.22,
        scales=0,
        marks=(
            (RUST, 0.4, stripes((0.05,), 0.2, 0.2)),
            (BLACK, 0.8, spots(90, 0.009, -0.1, 0.95)),
        ),
    ),
}
