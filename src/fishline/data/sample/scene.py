"""One drawn photograph: a fish on a surface, under a lamp."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from fishline.data.sample.brush import draw_fish, window
from fishline.data.sample.species import RGB, Array, Species, smooth

WIDTH, HEIGHT = 590, 445
Surface = Callable[[Generator], tuple[Array, Array]]  # albedo (H, W, 3), relief (H, W)


def noise(rng: Generator, across: int, down: int | None = None) -> Array:
    """Smooth noise (H, W), about -1..1, with ``across`` x ``down`` bumps over the picture."""
    small = rng.normal(0, 0.5, (down or across, across)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def plain(colour: RGB, rng: Generator, spread: float = 0.05) -> Array:
    """An uneven coat (H, W, 3) of about one colour."""
    base = np.float32(np.array(colour) * rng.normal(1, spread, 3) * rng.uniform(0.45, 0.65))
    tint = 1 + 0.12 * noise(rng, 5) + 0.05 * noise(rng, 60)
    return np.asarray(base * tint[..., None])


def slanted(rng: Generator, low: float = -150, high: float = 150) -> Array:
    """Distance (H, W) in pixels from a straight line, ``low`` to ``high`` off the middle."""
    turn, off = rng.uniform(0, 2 * np.pi), rng.uniform(low, high)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.asarray((x - WIDTH / 2) * np.cos(turn) + (y - HEIGHT / 2) * np.sin(turn) - off)


def board(rng: Generator) -> tuple[Array, Array]:
    """A wet plastic board with knife marks, loose scales and the edge of a second board."""
    hues: tuple[RGB, ...] = (
        (0.14, 0.3, 0.56),
        (0.14, 0.3, 0.56),
        (0.26, 0.3, 0.5),
        (0.2, 0.36, 0.42),
    )
    colour = hues[rng.integers(len(hues))]
    albedo = plain(colour, rng)
    edge = slanted(rng)
    if rng.random() < 0.4:
        other = smooth(edge, -1, 1)[..., None]
        albedo += other * (plain(colour, rng) - albedo)
        albedo *= 1 - 0.7 * np.exp(-((edge[..., None] / rng.uniform(2, 14)) ** 2))
    marks = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(marks)
    for _ in range(int(rng.integers(10, 60))):
        x, y, dx, dy = rng.uniform((0, 0, -60, -60), (WIDTH, HEIGHT, 60, 60))
        pen.line((x, y, x + dx, y + dy), fill=int(rng.integers(20, 90)))
    for _ in range(int(rng.integers(0, 60))):
        x, y, r = rng.uniform((0, 0, 0.8), (WIDTH, HEIGHT, 4))
        pen.ellipse((x - r, y - 0.6 * r, x + r, y + 0.6 * r), fill=int(rng.integers(90, 220)))
    scratch = np.asarray(marks.filter(ImageFilter.GaussianBlur(0.7)), np.float32) / 255
    albedo += scratch[..., None] * (0.85 - albedo)
    return albedo, 0.4 * noise(rng, 90) + 2.5 * noise(rng, 9) + 2 * scratch


def steel(rng: Generator) -> tuple[Array, Array]:
    """A brushed steel tray with its rim."""
    brushed = noise(rng, 3, 220)
    albedo = plain((0.42, 0.46, 0.52), rng, 0.04) * (1 + 0.06 * brushed[..., None])
    rim = np.clip(np.abs(slanted(rng)) - 6, -6, 6)
    return albedo, 0.5 * brushed + 6 * noise(rng, 6) + 2 * rim


def ice(rng: Generator) -> tuple[Array, Array]:
    """Crushed ice."""
    # Minima of slanted planes make chips: flat faces that meet in sharp edges.
    chips = [noise(rng, 22, 17) * 6 for _ in range(4)]
    lumps = np.maximum(np.minimum(chips[0], chips[1]), np.minimum(chips[2], chips[3]))
    depth = 0.8 + 0.05 * lumps + 0.08 * noise(rng, 60)
    return plain((0.5, 0.6, 0.7), rng, 0.05) * depth[..., None], lumps + 0.4 * noise(rng, 120)


def cloth(rng: Generator) -> tuple[Array, Array]:
    """A woven cloth with folds, plain or striped."""
    hues: tuple[RGB, ...] = (
        (0.6, 0.6, 0.58),
        (0.3, 0.36, 0.5),
        (0.2, 0.28, 0.42),
        (0.3, 0.4, 0.36),
    )
    albedo = plain(hues[rng.integers(len(hues))], rng)
    across = slanted(rng)
    if rng.random() < 0.35:
        band = smooth(np.sin(across / rng.uniform(8, 30)), 0.3, 0.7)[..., None]
        other = np.array(hues[rng.integers(len(hues))], np.float32)
        albedo += band * (other - albedo) * 0.8
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    weave = 0.5 * np.sin(x * 1.9) * np.sin(y * 1.9)
    return albedo, weave + 30 * np.abs(noise(rng, 4)) + 0.5 * noise(rng, 150)


SURFACES: tuple[Surface, ...] = (board, board, board, steel, ice, cloth, cloth)


@dataclass(frozen=True)
class Light:
    """One lamp: direction (x, y, z; z to the camera), colour, spot of its brightest place."""

    direction: Array  # (3,)
    colour: Array  # (3,)
    spot: Array  # (H, W), brightness

    @classmethod
    def any(cls, rng: Generator) -> "Light":
        """A random lamp."""
        turn, flat = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.8)
        aim = np.array([flat * np.cos(turn), flat * np.sin(turn), 1.0])
        warm = rng.uniform(-0.18, 0.18)
        tint = np.array([1 + warm, rng.uniform(0.93, 1.07), 1 - warm]) * rng.uniform(0.7, 1.2)
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        at = rng.uniform((0.2, 0.2), (0.8, 0.8))
        far = np.hypot(x / WIDTH - at[0], y / HEIGHT - at[1])
        spot = 1.15 - rng.uniform(0.2, 0.75) * far
        return cls(*(np.asarray(a, np.float32) for a in (aim / np.linalg.norm(aim), tint, spot)))

    def on(self, albedo: Array, relief: Array, gloss: Array) -> Array:
        """``albedo`` (H, W, 3), lit by the slope of ``relief`` (H, W), with highlights.

        ``gloss`` is their strength, (H, W) or one number; the result may exceed 1.
        """
        down, right = np.gradient(relief)
        length = np.sqrt(1 + right * right + down * down)
        lx, ly, lz = self.direction
        facing = np.clip((lz - lx * right - ly * down) / length, 0, None)
        middle = np.array([lx, ly, lz + 1], np.float32) / np.sqrt(2 + 2 * lz)
        shine = np.clip((middle[2] - middle[0] * right - middle[1] * down) / length, 0, None)
        for _ in range(5):  # to the power of 32
            shine *= shine
        lit = albedo * ((0.38 + 0.72 * facing) * self.spot)[..., None]
        return np.asarray((lit + (gloss * shine * self.spot)[..., None]) * self.colour, np.float32)


def place(fish: Species, rng: Generator) -> tuple[Array, Array, float]:
    """Lay a fish down: x, y (H, W) of the fish's frame at every pixel, and a pixel's size."""
    length = rng.uniform(350, 560)
    turn = np.float32(rng.uniform(0, 2 * np.pi))
    middle = (WIDTH / 2 + rng.normal(0, 40), HEIGHT / 2 + rng.normal(0, 30))
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    dx, dy = (column - middle[0]) / length, (row - middle[1]) / length
    u = np.float32(rng.uniform(1, 1.2)) * (dx * np.cos(turn) + dy * np.sin(turn))
    w = np.float32(rng.choice((-1, 1)) * rng.uniform(0.8, 1.25)) * (
        dx * np.sin(turn) - dy * np.cos(turn)
    )
    bend = np.float32(fish.arch + fish.bend * rng.uniform(-1, 1))
    bend = bend if abs(bend) > 0.02 else np.float32(0.02)
    # The fish's axis is an arc: along it the angle counts, across it the radius.
    x = np.arctan2(u * np.sign(bend), 1 / abs(bend) + w * np.sign(bend)) / bend + 0.5
    y = (np.hypot(u, 1 / bend + w) - 1 / abs(bend)) * np.sign(bend)
    x += np.float32(rng.uniform(-0.02, 0.02)) * np.sin(2 * np.float32(np.pi) * np.clip(x, 0, 1))
    return x, y, 1 / length


def blurred(cover: Array, radius: float, dx: int, dy: int) -> Array:
    """``cover`` (H, W) blurred and moved."""
    image = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(radius))
    return np.asarray(image.rotate(0, translate=(dx, dy)), np.float32) / 255


def tuck(scene: Array, cover: Array, ground: Array, rng: Generator) -> None:
    """Hide what lies beyond a line, often an end of the fish, below more of the ``ground``."""
    beyond = slanted(rng, 90, 220)
    shade = 0.6 * np.exp(-np.abs(beyond) / rng.uniform(4, 14))
    scene *= (1 - shade)[..., None]
    lid = smooth(beyond, -1, 1)
    scene += lid[..., None] * (ground[::-1, ::-1] * rng.uniform(0.8, 1.2) - scene)
    cover *= 1 - lid


def develop(scene: Array, rng: Generator) -> Image.Image:
    """The picture (RGB) that a camera takes: exposure, focus and the sensor's noise."""
    exposed = 255 * np.clip(scene, 0, 1) ** np.float32(rng.uniform(0.75, 1.15))
    focus = ImageFilter.GaussianBlur(rng.uniform(0, 3))
    pixels = np.asarray(Image.fromarray(exposed.astype(np.uint8)).filter(focus))
    noisy = pixels + 3 * rng.standard_normal((HEIGHT, WIDTH, 1), np.float32)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def photograph(fish: Species, rng: Generator) -> tuple[Image.Image, Image.Image]:
    """One original: the picture (590 x 445, RGB) and its mask (L, 0 or 255)."""
    albedo, bumps = SURFACES[rng.integers(len(SURFACES))](rng)
    light = Light.any(rng)
    ground = light.on(albedo, bumps, np.array(rng.uniform(0, 0.15)))
    x, y, pixel = place(fish, rng)
    at = window((np.abs(x - 0.5) < 0.8) & (np.abs(y) < 0.45))
    grain = (0.6 * noise(rng, 40) + 0.5 * noise(rng, 150))[at]
    brush = draw_fish(fish, x[at], y[at], pixel, rng, grain)
    cover = np.zeros((HEIGHT, WIDTH), np.float32)
    cover[at] = brush.cover
    dx, dy = (int(-9 * v) for v in light.direction[:2])
    shade = 0.45 * blurred(cover, 9, 2 * dx, 2 * dy) + 0.45 * blurred(cover, 3, dx // 2, dy // 2)
    scene = ground * (1 - shade[..., None])
    lamp = Light(light.direction, light.colour, light.spot[at])
    gloss = rng.uniform(0.2, 0.9) * brush.cover
    skin = lamp.on(brush.rgb, brush.relief + 0.6 * grain, gloss)
    scene[at] += skin - brush.cover[..., None] * scene[at]
    if rng.random() < 0.4:
        tuck(scene, cover, ground, rng)
    return develop(scene, rng), Image.fromarray((cover > 0.5).astype(np.uint8) * 255)
