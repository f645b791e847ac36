"""Peak memory of the expectation step of a shard, and the number of images that it takes at once."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

from blush.expectation.accuracy import BYTES_AT_ONCE, PARTICLES, bytes_per_particle
from blush.expectation.coarse import CACHED_FLOATS, TILE
from blush.expectation.kept_poses import CHILDREN
from blush.fourier.lanes import LANES_OF_A_GROUP, groups_and_lanes
from blush.fourier.packed import packed
from blush.fourier.transform import PADDING, sphere_radius

PROCESS_BYTES = 290_000_000
"""Python with torch and what its allocator holds back (measured, torch 2.13)."""
HELD_BACK_BYTES = 200_000_000
"""Freed memory that the allocator keeps after it has made the spheres of many references (measured, glibc)."""
PAIRS_PER_BATCH = 2**19
"""Coarse pairs scored at once in the second pass."""
RAMP_BYTES = 2**28
"""Ramps of fine shifts held at once, where every image has shifts of its own."""
PRIOR_SAMPLES = 2**20
"""Samples of orientation and offset along a filament whose prior is computed at once, of 128 bytes each."""
LOCAL_NEIGHBOURS = 350
"""Orientations of a local search: directions x in-plane angles within 3 sigma of 2 fine steps, rounded up."""
LARGEST_BLOCK = 256
LARGEST_FIXED_BLOCK = 4096
"""Images at once where poses are fixed: what they have in a thin shell is sorted by place, which pays for thousands."""
FIXED_CHUNK = 64
"""Images transformed at once where poses are fixed: as many as lie in a processor's cache."""
PLACES_BYTES = 12_000
"""Of each image of a block, what kernels sort by place."""


@dataclass(frozen=True)
class Terms:
    """Figures in bytes that are told by name, in GB."""

    def __str__(self) -> str:
        terms = zip((f.name.replace("_", " ") for f in fields(self)), astuple(self), strict=True)
        return ", ".join(f"{name} {value / 1e9:.2f}" for name, value in terms)


@dataclass(frozen=True)
class PeakMemory(Terms):
    """Terms of the peak, in bytes; see `StepSize.peak` for what they hold."""

    process: int
    transform: int
    volumes: int
    slices: int
    first_pass: int
    second_pass: int
    result: int
    accuracy: int

    @property
    def total(self) -> int:
        """Process + the larger of transform and (volumes + slices + the largest of the rest)."""
        step = self.volumes + self.slices + max(self.first_pass, self.second_pass, self.result, self.accuracy)
        return self.process + max(self.transform, step)


def sphere_cells(radius: int) -> int:
    """Cells of the padded sphere: (2 r + 1)^2 (r + 1) with r = 2 radius + 3."""
    r = sphere_radius(radius, PADDING)
    return (2 * r + 1) ** 2 * (r + 1)


@dataclass(frozen=True)
class StepSize:
    """What sets the memory of an expectation step.

    Attributes
    ----------
    radius, coarse_radius
        Shells compared in the second and the first pass.
    n_orientations
        Those of all references' grids, or with `local` of the neighbourhoods of one image, whose slices are its own.
    shifts
        Coarse shifts.
    itemsize
        Bytes of a real number.
    references
        Maps that compete.
    fixed
        Every image keeps its pose: no search.
    others
        Other parts of the particle that are taken away from images.
    lists
        Lists of orientations of every image, `n_orientations` in all, each with shifts of its own; 0: all images have
        the same shifts.
    shared_rows
        Orientations whose slices serve all images, where they are not those of every image.
    rows
        Orientations of all references' whole grids.
    """

    box_px: int
    radius: int
    coarse_radius: int
    n_orientations: int
    shifts: int
    itemsize: int
    local: bool = False
    references: int = 1
    fixed: bool = False
    others: int = 0
    lists: int = 0
    shared_rows: int = 0
    rows: int = 0

    def pixels(self, radius: int) -> int:
        """Pixels of the half plane within a radius, about pi radius^2 / 2."""
        return packed(self.box_px).inside(radius)

    def peak(self, block_size: int) -> PeakMemory:
        """Peak memory of a shard on the CPU with compiled kernels, term by term.

        With N = box, f = itemsize, n(r) = pi r^2 / 2 pixels, c = (2 R + 1)^2 (R + 1) cells of the sphere,
        R = 2 radius + 3, P = block x shifts x orientations coarse poses, and p = min(P, 2^19) of them in one batch of
        the second pass:

        - process: 0.29 GB, and where there are several references min(0.2 GB, 16 f c) that the allocator keeps;
        - transform: 2.25 f (2N)^3: the padded map, its transform (as large), the map twice; freed before the rest; and
          2 f c for each of the other references and parts, the spheres that were made before;
        - volumes: 6 f c for every reference: the sphere, complex, and the accumulator of four channels; 2 f c for every
          other part of the particle, whose images are predicted before the passes, block by block;
        - slices: f (2 n(coarse) orientations + 8 n(radius) shifts): the grid's slices, of which two tiles of 1024 are
          held where all are above 2^27 numbers, and the ramps of the fine shifts;
        - first pass: f (8 N^2 + 2 n(coarse) shifts) block + (2 f + 29) P: images, scores, priors, kept poses;
        - second pass: 8 f N^2 block + 28 P + (184 + max(128 f, 32 f + 512)) p: scores and weights of 32 children each;
        - result: 3 f c for every reference: the copy that is written;
        - accuracy: 35 (4 f + 32) n(radius), one particle at 35 rotations, or 0.13 GB; and 200 f n(radius): the CTFs.

        With L lists, shifts, and P, are those of one list. Instead of the ramps of shared shifts there are those of the
        images of a batch, at most 0.25 GB or those of one image, 8 f n(radius) L shifts, and its shifted copies, as
        many again; coarse ramps take another 2 f n(coarse) L shifts block, and priors 128 bytes for 2^20 samples.

        P in full is the worst case, a posterior so flat that every pose is significant. The portable torch kernels
        take up to 1 GB more.

        With `fixed` slices are the ramps alone, and there are neither two passes nor accuracies. Beside its sphere,
        every reference has its lane of 6 f c (5 f c from 5 references on) in maps and sums that lie interleaved, lanes
        being references rounded up to 1, 2, 4 or a multiple of 8; its result is 4 f c, when the sums are taken apart.
        Images take (8 f N^2 + 12 kB) block, most of it while they are read.
        """
        if self.fixed:
            return self._fixed_peak(block_size)
        f, n, coarse = self.itemsize, self.pixels(self.radius), self.pixels(self.coarse_radius)
        poses = block_size * self.shifts * self.n_orientations
        pairs = min(poses, PAIRS_PER_BATCH)
        images = 8 * f * self.box_px**2 * block_size
        floats = 2 * coarse * (self.shared_rows or self.n_orientations) * (block_size if self.local else 1)
        kept = floats if self.local or floats <= CACHED_FLOATS else 4 * coarse * TILE
        cells = sphere_cells(self.radius)
        return PeakMemory(
            process=self._process_bytes(),
            transform=self._transform_bytes(),
            volumes=(6 * self.references + 2 * self.others) * f * cells,
            slices=f * kept + self._ramp_bytes(block_size),
            first_pass=images + self._shifted_bytes(block_size) + (2 * f + 29) * poses,
            second_pass=images + 28 * poses + (184 + max(4 * CHILDREN * f, CHILDREN * (f + 16))) * pairs,
            result=3 * f * cells * self.references,
            accuracy=max(BYTES_AT_ONCE, bytes_per_particle(n, f)) + 2 * PARTICLES * f * n,
        )

    def _ramp_bytes(self, block_size: int) -> int:
        one = 8 * self.itemsize * self.pixels(self.radius) * self.shifts * max(1, self.lists)
        return max(one, min(block_size * one, RAMP_BYTES)) + one if self.lists else one

    def _shifted_bytes(self, block_size: int) -> int:
        rows = 2 * self.itemsize * self.pixels(self.coarse_radius) * self.shifts * block_size
        return 2 * self.lists * rows + 128 * PRIOR_SAMPLES if self.lists else rows

    def _fixed_peak(self, block_size: int) -> PeakMemory:
        cells, f = sphere_cells(self.radius), self.itemsize
        groups, lanes = groups_and_lanes(self.references)
        lane = 5 if lanes == LANES_OF_A_GROUP else 6
        return PeakMemory(
            process=self._process_bytes(),
            transform=self._transform_bytes(),
            volumes=2 * f * cells * self.references + lane * f * cells * groups * lanes,
            slices=8 * f * self.pixels(self.radius) * self.shifts,
            first_pass=self._bytes_of_fixed_image() * block_size,
            second_pass=0,
            result=4 * f * cells * self.references,
            accuracy=0,
        )

    def _process_bytes(self) -> int:
        kept = min(HELD_BACK_BYTES, 16 * self.itemsize * sphere_cells(self.radius))
        return PROCESS_BYTES + (kept if self.references > 1 else 0)

    def _transform_bytes(self) -> int:
        before = 2 * self.itemsize * sphere_cells(self.radius) * (self.references - 1 + self.others)
        return 9 * self.itemsize * (PADDING * self.box_px) ** 3 // 4 + before

    def _bytes_of_fixed_image(self) -> int:
        return 8 * self.itemsize * self.box_px**2 + PLACES_BYTES

    def block_size(self, memory_bytes: float) -> int:
        """Images per block on a CPU: what a quarter of the memory holds, and no more than its caches like."""
        if self.fixed:
            most = int(max(1, min(LARGEST_FIXED_BLOCK, memory_bytes / 4 // self._bytes_of_fixed_image())))
            return most - most % FIXED_CHUNK if most > FIXED_CHUNK else most
        per_particle = 6 * self.box_px**2 * self.itemsize
        if self.local:
            per_orientation = 3 * self.pixels(self.coarse_radius) + 2 * self.shifts
            budget = min(memory_bytes / 4, 2**27)
        else:
            per_orientation = 3 * self.shifts
            budget = min(memory_bytes / 4, 2**28)
        per_particle += 4 * self.lists * self.shifts * self.pixels(self.coarse_radius) * self.itemsize
        per_particle += self.n_orientations * per_orientation * self.itemsize
        return int(max(1, min(LARGEST_BLOCK, budget // per_particle)))


def peak_bytes(
    box_px: int, radius: int, coarse_radius: int, n_orientations: int, shifts: int, block_size: int, itemsize: int
) -> int:
    """Peak memory of a global search in bytes; `StepSize.peak` states the formula."""
    return StepSize(box_px, radius, coarse_radius, n_orientations, shifts, itemsize).peak(block_size).total
