"""Time of classification without alignment against the number of maps: each image at one orientation, K maps.

    python benchmarks/many_maps.py [--images 2000] [--json FILE]

Prints CPU nanoseconds per pixel of an image, on one core, for random orientations: scores of all maps, what they
predict together, insertion with a share in every volume and in one each; and their sum over that of K = 1. The first
line of a box is a loop over `project` and `insert`, which take one map. Seeds and shapes are fixed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.many_maps import interleave, predict_many, project_many, score_many
from blush.fourier.many_sums import InterleavedSums, empty_sums, insert_many
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler

REPEATS = 2
IMAGES_OF_SLICES = 200  # slices of all maps are large


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the faster of some runs, after one to warm up."""
    work()
    times = []
    for _ in range(REPEATS):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


class Box:
    """Random maps, images and orientations of one size, up to Nyquist."""

    def __init__(self, box_px: int, images: int, n_maps: int) -> None:
        generator = torch.Generator().manual_seed(box_px)
        self.box_px, self.r_max, self.pixels = box_px, box_px // 2, packed(box_px)
        self.n = self.pixels.inside(self.r_max)
        angles = 360 * torch.rand(images, 3, generator=generator, dtype=torch.float64)
        self.matrices = matrix_from_euler(angles)
        self.image = torch.randn(images, 2, self.n, generator=generator)
        self.power = torch.rand(images, self.n, generator=generator)
        volumes = (torch.randn(box_px, box_px, box_px, generator=generator) for _ in range(n_maps))
        self.spheres = [transform(volume, self.r_max) for volume in volumes]
        self.share = torch.rand(images, n_maps, generator=generator)

    def per_sample(self, work: Callable[[], object], images: int) -> float:
        return 1e9 * seconds(work) / (images * self.n)

    def one(self) -> dict[str, float]:
        """The kernels for one map."""
        sums, few = empty_accumulator(self.box_px, self.r_max), self.matrices[:IMAGES_OF_SLICES]
        taken = self.per_sample(lambda: project(self.spheres[0], few, self.pixels, self.n), len(few))
        given = self.per_sample(
            lambda: insert(sums, self.matrices, self.image, self.power, self.pixels), len(self.matrices)
        )
        return {"project": taken, "insert": given, "sum": taken + given}

    def many(self, k: int) -> dict[str, float]:
        """The kernels for k maps."""
        maps, images, view = interleave(self.spheres[:k]), len(self.matrices), (self.pixels, self.n)
        share, few = self.share[:, :k].contiguous(), self.matrices[:IMAGES_OF_SLICES]
        sharp = torch.nn.functional.one_hot(share.argmax(1), k).float()
        out = {
            "project": self.per_sample(lambda: project_many(maps, few, *view), len(few)),
            "score": self.per_sample(
                lambda: score_many(maps, self.matrices, self.image, self.power, self.pixels), images
            ),
            "predict": self.per_sample(lambda: predict_many(maps, self.matrices, sharp, *view), images),
        }
        del maps
        sums = empty_sums(k, self.box_px, self.r_max)
        for name, weight in (("insert", share), ("insert_one", sharp)):
            out[name] = self.per_sample(
                lambda weight=weight: insert_many(sums, self.matrices, self.image, self.power, weight, self.pixels),
                images,
            )
        begin = time.process_time()
        volumes = sums.unpack()
        out["unpack_s"] = time.process_time() - begin
        del sums
        begin = time.process_time()
        InterleavedSums.pack(volumes)
        out["pack_s"] = time.process_time() - begin
        out["sum"] = out["score"] + out["insert"]
        return out


def main() -> None:
    """Print a line for every box and number of maps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for box_px in (64, 128):
        box = Box(box_px, chosen.images, 8)
        rows = [{"maps": 0, **box.one()}, *({"maps": k, **box.many(k)} for k in (1, 2, 4, 8))]
        for row in rows:
            row |= {"box_px": box_px, "over_one": row["sum"] / rows[1]["sum"]}
            print("  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
        results += rows
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
