"""The brush that draws one fish of a species, in the frame that `species.py` describes."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fishline.data.sample.species import (
    BLACK,
    PALETTES,
    RGB,
    TAIL,
    WHITE,
    Array,
    Fan,
    Points,
    Sail,
    Species,
    Whisker,
    smooth,
)


@dataclass
class Brush:
    """Layers of paint over each other, and the relief that the light falls on."""

    x: Array  # (H, W)
    y: Array  # (H, W)
    pixel: float  # size of a pixel in body lengths
    rgb: Array  # (H, W, 3), already times cover
    cover: Array  # (H, W)
    relief: Array  # (H, W), pixels
    grain: Array  # (H, W), rough noise, about -1..1

    def near(self, x: float, y: float, far: float, high: float = 1) -> "Brush":
        """The same canvas, narrowed to what lies within ``far`` of a point: less to compute."""
        at = window((np.abs(self.x - x) < far) & (np.abs(self.y - y) < min(far, high)))
        arrays = (self.rgb, self.cover, self.relief, self.grain)
        return Brush(self.x[at], self.y[at], self.pixel, *(array[at] for array in arrays))

    def edge(self, inside: Array) -> Array:
        """Cover (H, W) of a shape from its distance to the outline: one pixel from 0 to 1."""
        return np.asarray(np.clip(inside / self.pixel + 0.5, 0, 1), np.float32)

    def paint(self, cover: Array, colour: RGB | Array) -> None:
        """Lay ``colour``, one or (H, W, 3), where ``cover`` (H, W) says."""
        at = window(cover > 0)
        veil = cover[at].astype(np.float32)
        tone = np.asarray(colour, np.float32)
        self.rgb[at] += veil[..., None] * ((tone[at] if tone.ndim > 1 else tone) - self.rgb[at])
        self.cover[at] += veil * (1 - self.cover[at])


def window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The smallest window that holds all of ``mask`` (H, W)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.s_[:0, :0]
    return np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def profile(points: Points, x: Array) -> Array:
    """Half height (H, W) of an outline through ``points`` to ``TAIL``; beyond it below 0."""
    at, high = np.array(points).T
    knots = np.linspace(-0.1, 1.1, 481)
    # Heights are blended as squares, which rounds the snout as a circle's end is round.
    square = np.interp(knots, [at[0] - 1e-3, *at, TAIL], [0, *high**2, high[-1] ** 2], 0, 0)
    kernel = np.hanning(27)
    height = np.sqrt(np.convolve(square, kernel / kernel.sum(), "same")) - 0.004
    return np.interp(x, knots, height, -1, -1).astype(np.float32)


def draw_sail(brush: Brush, fin: Sail, outline: Points, lift: float, colour: Array) -> None:
    """Paint a fin along an outline, raised by ``lift`` (0 folded, 1 up)."""
    middle = (fin.start + fin.end) / 2
    brush = brush.near(middle, fin.side * 0.13, 0.03 + max(fin.end - middle, 0.1) + fin.height)
    high = profile(outline, brush.x)
    out = fin.side * brush.y - high
    along = (brush.x - fin.slant * out - fin.start) / (fin.end - fin.start)
    at, tall = np.array(fin.shape).T
    phase = (along * fin.rays) % 1
    top = fin.height * lift * np.interp(along, at, tall) * (1 - fin.jag * 4 * phase * (1 - phase))
    ends = brush.edge(np.minimum(along, 1 - along) * (fin.end - fin.start))
    shape = brush.edge(top - out) * ends * brush.edge(out + 0.03)
    draw_rays(brush, shape, np.cos(2 * np.pi * phase), colour)


def draw_fan(brush: Brush, fin: Fan, at: tuple[float, float], lift: float, colour: Array) -> None:
    """Paint a fin spread from the point ``at``."""
    brush = brush.near(*at, 1.05 * fin.length)
    dx, dy = brush.x - at[0], brush.y - at[1]
    radius = np.hypot(dx, dy)
    half = np.deg2rad(fin.spread) * (0.55 + 0.45 * lift)
    side = (np.arctan2(dy, dx) - np.deg2rad(fin.angle)) / half
    far = fin.length * (1 - fin.fork * (1 - np.clip(np.abs(side), 0, 1) ** 1.3))
    far *= 1 - (0.6 * side * side if fin.fork == 0 else 0)
    shape = brush.edge(far - radius) * brush.edge((1 - np.abs(side)) * half * radius + 0.004)
    draw_rays(brush, shape, np.cos(np.pi * side * fin.rays), colour)


def draw_rays(brush: Brush, shape: Array, ray: Array, colour: Array) -> None:
    """Paint a fin's skin, thinner and darker between its rays (``ray`` (H, W) is -1..1)."""
    brush.paint(shape * (0.78 + 0.16 * ray), colour * (0.92 + 0.16 * ray[..., None]))
    brush.relief += 0.35 * ray * shape


def draw_whisker(brush: Brush, fin: Whisker, at: tuple[float, float], colour: Array) -> None:
    """Paint a thread that starts at ``at`` and thins out to its end."""
    turn = np.float32(np.deg2rad(fin.angle))
    brush = brush.near(*at, fin.length * (1 + abs(fin.curl) * fin.length))
    dx, dy = brush.x - at[0], brush.y - at[1]
    along = dx * np.cos(turn) + dy * np.sin(turn)
    aside = np.abs(dy * np.cos(turn) - dx * np.sin(turn) - fin.curl * along**2)
    width = fin.width * np.clip(1 - along / fin.length, 0, 1)
    width *= (along > 0) & (along < fin.length)
    brush.paint(np.clip(width / brush.pixel, 0, 1) * brush.edge(width - aside), colour)


def draw_fins(brush: Brush, fish: Species, over: bool, tones: list[Array], rng: Generator) -> None:
    """Paint the fins before the body is (``over`` False) or upon it."""
    for fin in fish.fins:
        lift = float(rng.uniform(0.3, 1.1))
        if isinstance(fin, Sail):
            if not over:
                draw_sail(brush, fin, fish.back if fin.side > 0 else fish.belly, lift, tones[3])
            continue
        high = profile(fish.back if fin.v > 0 else fish.belly, np.array([fin.x], np.float32))
        at = (fin.x, fin.v * float(high[0]))
        if isinstance(fin, Fan) and fin.over == over:
            draw_fan(brush, fin, at, lift, tones[3])
        elif isinstance(fin, Whisker) and not over:
            draw_whisker(brush, fin, at, tones[1])


def scale_relief(x: Array, y: Array, rows: float) -> Array:
    """Overlapping round scales: (H, W) in 0..1, high at the free edge of each scale."""
    row = y * rows * 1.25
    column = x * rows + 0.5 * (np.floor(row) % 2)
    a, b = column % 1, row % 1 - 0.5
    return np.asarray((a + b * b) % 1, np.float32)


def flanks(brush: Brush, fish: Species) -> tuple[Array, Array, Array]:
    """v, cover and mean half height (all (H, W)) of a fish's body."""
    back, belly = profile(fish.back, brush.x), profile(fish.belly, brush.x)
    high = np.where(brush.y > 0, back, belly)
    v = np.clip(brush.y / np.maximum(high, 0.004), -1, 1).astype(np.float32)
    return v, brush.edge(high - np.abs(brush.y)), np.maximum(back + belly, 0) / 2


def skin(v: Array, tones: list[Array], rng: Generator, grain: Array) -> Array:
    """Colour (H, W, 3) of the body without its markings: dark back, bright belly."""
    stops = (-1.0, -0.45, 0.25 + 0.2 * rng.uniform(-1, 1), 0.9)
    mix = [tones[2], tones[1], tones[1], tones[0]]
    level = v + 0.15 * grain
    colour = np.stack([np.interp(level, stops, [t[c] for t in mix]) for c in range(3)], -1)
    return np.asarray(colour * (1 + 0.10 * grain[..., None]), np.float32)


def draw_body(brush: Brush, fish: Species, tones: list[Array], rng: Generator) -> None:
    """Paint the body with its colours, scales and markings."""
    brush = brush.near(0.45, 0, 0.48, 0.23)
    v, cover, high = flanks(brush, fish)
    colour = skin(v, tones, rng, brush.grain)
    head = 1 - smooth(brush.x + 0.10 * v * v, fish.gill - 0.003, fish.gill + 0.003)
    relief = 0.75 * np.sqrt(1 - 0.97 * v * v) * high / brush.pixel + 2 * head
    if fish.scales:
        bump = scale_relief(brush.x, brush.y, fish.scales) * (1 - head)
        colour *= (1 + 0.16 * (bump - 0.5) * (1 - head))[..., None]
        relief += 0.45 * bump
    brush.relief += cover * relief
    brush.paint(cover, colour)
    for colour_of_mark, strength, mark in fish.marks:
        share = strength * rng.uniform(0.2, 1)
        brush.paint(cover * share * mark(brush.x, v, rng), colour_of_mark)
    draw_head(brush.near(fish.gill / 2, 0, max(0.2, fish.gill / 2 + 0.05)), fish)


def draw_head(brush: Brush, fish: Species) -> None:
    """Paint gill cover, mouth and eye."""
    v, cover, _ = flanks(brush, fish)
    bow = (brush.x + 0.10 * v * v - fish.gill) / 0.022
    slit = np.where(bow > 0, np.exp(-bow), np.exp(-((5 * bow) ** 2)))
    cheek = np.exp(-((1.5 * bow + 0.45 * fish.gill / 0.022) ** 2))
    middle = smooth(0.85 - np.abs(v + 0.15), 0, 0.3)
    brush.paint(cover * middle * (0.6 * slit + 0.15 * cheek), BLACK)
    if fish.iris != BLACK:
        jaw = np.abs(brush.y + 0.012 + 0.35 * brush.x) / 0.003
        brush.paint(cover * 0.6 * np.exp(-jaw * jaw) * (brush.x < 0.38 * fish.gill), BLACK)
    draw_eye(brush, fish)


def draw_eye(brush: Brush, fish: Species) -> None:
    """Paint the eye with its socket, iris, pupil and glint."""
    x, row, radius = fish.eye
    y = row * float(profile(fish.back, np.array([x], np.float32))[0])
    far = np.hypot(brush.x - x, brush.y - y)
    brush.paint(0.5 * (1 - smooth(far, 0.9 * radius, 1.5 * radius)), BLACK)
    brush.paint(brush.edge(radius - far), fish.iris)
    brush.paint(0.6 * smooth(far, 0.6 * radius, radius) * brush.edge(radius - far), BLACK)
    brush.paint(brush.edge(radius * 0.6 - far), BLACK)
    glint = np.hypot(brush.x - x + 0.3 * radius, brush.y - y - 0.3 * radius)
    brush.paint(0.9 * brush.edge(radius * 0.2 - glint), WHITE)


def draw_fish(
    fish: Species, x: Array, y: Array, pixel: float, rng: Generator, grain: Array
) -> Brush:
    """Draw one fish of a species upon the frame ``x``, ``y`` (H, W); no two come out alike."""
    zeros = np.zeros_like(x)
    rgb = np.zeros((*x.shape, 3), np.float32)
    brush = Brush(x, y, pixel, rgb, zeros.copy(), zeros, grain)
    own, other = (
        np.array(PALETTES[names[rng.integers(len(names))]])
        for names in (fish.palettes, tuple(PALETTES))
    )
    shift = rng.normal(1, 0.03, 3) * rng.uniform(0.9, 1.1)
    mixed = (own + rng.uniform(0, 0.35) * (other - own)) * shift
    tones = [np.asarray(tone, np.float32) for tone in mixed]
    draw_fins(brush, fish, False, tones, rng)
    draw_body(brush, fish, tones, rng)
    draw_fins(brush, fish, True, tones, rng)
    return brush
