"""Decode many thousands of damaged image files and count what becomes of them.

    python benchmarks/fuzz_images.py [--mutants 10000] [--seed 0] [--save folder]

Seeds of every format that fishline reads are damaged by Hypothesis (bits flipped, numbers in
headers changed, pieces cut out, repeated or taken from another file) and decoded, each in a
worker process that may take so much memory and time and no more. A file that kills the worker,
outlasts it or exceeds its memory is saved for a look and makes the exit code 1. The same seed
makes the same mutants with the same versions of Hypothesis and Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import time
import warnings
from collections import Counter
from io import BytesIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import PIL
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from fishline.data.decode import THUMBNAIL, decode
from fishline.data.photo_files import reason

SIZE = 128
MEMORY = 3 * 2**30  # bytes of address space that a worker may take
SECONDS = 90.0  # that a worker may take for one file
INTERESTING = [0, 1, 2, 3, 4, 8, 16, 255, 256, 4096, 9000, 30_000, 32_767, 32_768, 65_535]
INTERESTING += [2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1]


def seeds() -> list[bytes]:
    """Small files of every format, in the modes that take ways of their own."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 4), np.uint8), "RGBA")
    photo = coarse.resize((64, 48), Image.Resampling.BICUBIC)
    rgb, grey = photo.convert("RGB"), photo.convert("L")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a fish"
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    files: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((rgb, kind, {}) for kind in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM")),
        *((rgb, kind, {"exif": exif}) for kind in ("AVIF", "JPEG", "PNG", "TIFF", "WEBP")),
        *((rgb, kind, frames) for kind in ("AVIF", "GIF", "PNG", "TIFF", "WEBP")),
        *((photo, kind, {}) for kind in ("AVIF", "BMP", "JPEG2000", "PNG", "TIFF", "WEBP")),
        *((rgb, "TIFF", {"compression": c}) for c in ("tiff_lzw", "jpeg", "packbits", "zstd")),
        *((grey.convert(mode), kind, {}) for mode in "1L" for kind in ("BMP", "PNG", "PPM")),
        *((grey.convert(mode), "TIFF", {}) for mode in "1FI"),
        *((deep, kind, {}) for kind in ("PNG", "PPM", "TIFF", "JPEG2000")),
        *((rgb.convert("P"), kind, {"transparency": 0}) for kind in ("GIF", "PNG")),
        *((rgb.convert("CMYK"), kind, {}) for kind in ("JPEG", "TIFF")),
        (rgb.convert("YCbCr"), "TIFF", {}),
        (rgb, "JPEG", {"progressive": True, "subsampling": 0}),
        (rgb, "WEBP", {"lossless": True}),
        (rgb, "JPEG2000", {"irreversible": True, "no_jp2": True, "tile_size": (32, 32)}),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (rgb, "MPO", frames),  # last: it leaves a JPEG's settings in the frames
    ]
    contents = []
    for image, kind, options in files:
        file = BytesIO()
        image.copy().save(file, kind, **options)  # a JPEG leaves settings in it
        contents.append(file.getvalue())
    text = b"P3\n# a fish\n4 2 255\n" + b"1 20 255 " * 8
    return [*contents, text, b"P1 8 4\n" + b"01" * 16]


@st.composite
def mutants(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """One of `contents`, damaged in one to three places: most often in its first 200 bytes."""
    data = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(4, 199) | st.integers(4, 2**16)) % (len(data) + 1)
        length = draw(st.integers(1, 8) | st.integers(1, 200))
        match draw(st.sampled_from(["flip", "flip", "number", "number", "cut", "end", "splice"])):
            case "flip":
                data[place : place + 1] = bytes(
                    byte ^ 1 << draw(st.integers(0, 7)) for byte in data[place : place + 1]
                )
            case "number":
                value, width = draw(st.sampled_from(INTERESTING)), draw(st.sampled_from([1, 2, 4]))
                order = draw(st.sampled_from(["big", "little"]))
                value %= 256**width
                data[place : place + width] = value.to_bytes(width, order)
            case "cut":
                del data[place : place + length]
            case "end":
                del data[max(place, 12) :]
            case _:
                other = draw(st.sampled_from(contents))
                start = draw(st.integers(0, len(other) - 1))
                data[place : place + draw(st.sampled_from([0, length]))] = other[start:][:length]
    return bytes(data)


def work(pipe: Connection) -> None:
    """In the worker: decode what comes, answer (outcome, why, peak memory in MiB)."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C write what they think
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while True:
        try:
            image = decode(pipe.recv_bytes(), SIZE)
            assert image.pixels.shape == (SIZE, SIZE, 3)
            assert image.thumbnail.shape == (THUMBNAIL, THUMBNAIL)
            outcome, why = "used", ""
        except EOFError:
            return
        except MemoryError:
            outcome, why = "over memory", "MemoryError"
        except Exception as error:
            outcome, why = "rejected", f"{type(error).__name__}: {reason(error)}"
        pipe.send((outcome, why, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


class Worker:
    """A process that decodes; a new one whenever the last has died or was stopped."""

    def __init__(self) -> None:
        self._context = get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, other = self._context.Pipe()
        self._process = self._context.Process(target=work, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def decode(self, content: bytes) -> tuple[str, str, float]:
        try:
            self._pipe.send_bytes(content)
            if self._pipe.poll(SECONDS):
                return self._pipe.recv()  # type: ignore[no-any-return]
            outcome = "hung"
        except (EOFError, OSError):
            outcome = "crashed"
        self.stop()
        why = f"exit code {self._process.exitcode}"
        self._start()
        return outcome, why, 0.0

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def fuzz(number: int, seed: int, folder: Path) -> Counter[str]:
    worker, outcomes, reasons = Worker(), Counter[str](), Counter[str]()
    slowest = peak = 0.0

    @hypothesis.seed(seed)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(mutants(seeds()))
    def run(content: bytes) -> None:
        nonlocal slowest, peak
        start = time.perf_counter()
        outcome, why, memory = worker.decode(content)
        slowest, peak = max(slowest, time.perf_counter() - start), max(peak, memory)
        outcomes[outcome] += 1
        if outcome == "rejected":
            reasons[why.split(":")[0]] += 1
        elif outcome != "used":
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{outcome.replace(' ', '-')}-{hashlib.sha256(content).hexdigest()[:12]}"
            (folder / name).write_bytes(content)
            print(f"{outcome}: {folder / name} ({why})")

    try:
        run()
    finally:
        worker.stop()
    print(f"tried {outcomes.total()}: {dict(outcomes)}; rejected with {dict(reasons)}")
    print(f"slowest {slowest:.1f} s, peak memory of the worker {peak:.0f} MiB")
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, default=Path("fuzz"), help="for the offending files")
    options = parser.parse_args()
    start = time.perf_counter()
    print(f"Pillow {PIL.__version__}, Hypothesis {hypothesis.__version__}, seed {options.seed}")
    outcomes = fuzz(options.mutants, options.seed, options.save)
    print(f"{time.perf_counter() - start:.0f} s")
    raise SystemExit(bool(set(outcomes) - {"used", "rejected"}))


if __name__ == "__main__":
    main()
