"""Calls of a small problem as RELION 4 and 5 write them, and running what waits for one another."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

from problem import DIAMETER_ANGST, PIXEL_ANGST

from blush.errors import BlushError
from blush.io.star import read_star, write_star
from blush.regularise.base import HalfMaps
from blush.regularise.protocol import call_root, write_call


def write(maps: HalfMaps, half: int, root: str | None = None) -> Path:
    root = root or call_root("run", maps.iteration, half)
    numbers = {"pixel_size_angst": PIXEL_ANGST, "particle_diameter_angst": DIAMETER_ANGST}
    return write_call(Path(), root, maps.sums[half - 1], maps.tau2[half - 1], maps.fsc, **numbers)


def star_of(half: int) -> Path:
    return Path(f"{call_root('run', 3, half)}.star")


def edited(star: Path, **changes) -> None:
    """Replace values of the general block; None takes one away."""
    blocks = read_star(star)
    general = {key: value[0] for key, value in blocks["external_reconstruct_general"].items()} | changes
    general = {key: value for key, value in general.items() if value is not None}
    write_star(star, blocks | {"external_reconstruct_general": general})


def in_parallel(*functions: Callable) -> list:
    """Results, or what was raised."""
    results: list = [None] * len(functions)

    def run(index: int) -> None:
        try:
            results[index] = functions[index]()
        except BlushError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
