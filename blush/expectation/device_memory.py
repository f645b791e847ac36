"""Memory of a GPU that the expectation step of a shard takes, and the number of images that it takes at once."""

from __future__ import annotations

from dataclasses import dataclass

from blush.expectation.accuracy import BYTES_AT_ONCE, PARTICLES, bytes_per_particle
from blush.expectation.coarse import CACHED_FLOATS, TILE
from blush.expectation.kept_poses import BLOCK_BYTES, CAPACITY, CHILD_ORIENTATIONS, CHILDREN, IMAGES_TOGETHER
from blush.expectation.memory import FIXED_CHUNK, PAIRS_PER_BATCH, RAMP_BYTES, StepSize, Terms, sphere_cells
from blush.fourier.lanes import LANES_OF_A_GROUP, groups_and_lanes
from blush.fourier.transform import PADDING
from blush.kernels.taps import SAMPLES_PER_CHUNK

CONTEXT_BYTES = 1_000_000_000
"""CUDA, its libraries and their workspaces: an allowance, not measured."""
SMALL_BYTES = 400 * 512
"""Some hundred small tensors, of which torch's allocator gives each 512 bytes at least."""
IN_USE = 0.9
"""Part of what is free that blocks are chosen for: torch's allocator leaves gaps."""
LARGEST_BLOCK, LARGEST_FIXED_BLOCK = 256, 4096


@dataclass(frozen=True)
class DevicePeak(Terms):
    """Terms of the peak, in bytes; see `DeviceSize.peak` for what they hold."""

    context: int
    transform: int
    volumes: int
    slices: int
    images: int
    first_pass: int
    second_pass: int
    result: int
    accuracy: int

    @property
    def total(self) -> int:
        """Context + the larger of transform and volumes + slices + the largest of the rest."""
        block = self.images + max(self.first_pass, self.second_pass)
        return self.context + max(self.transform, self.volumes + self.slices + max(block, self.result, self.accuracy))


@dataclass(frozen=True)
class DeviceSize:
    """The memory of a step on a GPU with Triton kernels, by what sets it."""

    size: StepSize

    def peak(self, block: int) -> DevicePeak:
        """Peak memory of a shard on a GPU with Triton kernels, term by term.

        With N = box, f = itemsize, n(r) = pi r^2 / 2 pixels, c = (2 R + 1)^2 (R + 1) cells of the sphere,
        R = 2 radius + 3, K references, b images of a block, t shifts, o orientations, P = b t o coarse poses,
        L = min(P, 2^22) of them in a list, u = min(b, 64) images of one second pass, p = min(u t o, 2^19) poses and
        32 p samples of it, and v = min(p, rows, 2^23 / n) coarse orientations whose slices are held:

        - context: 1 GB for CUDA and its libraries, an allowance;
        - transform: 2.25 f (2N)^3: the padded map, its transform, its workspace; freed before the rest; and 2 f c for
          each sphere that was made before;
        - volumes: (2 f + 24) c for every reference, the sphere and D and W in 64-bit integers; 2 f c for other parts;
        - slices: those of a grid that is kept, 2 f n(coarse) o up to 0.5 GB, else those of 1024 orientations;
          tables, and 0.2 MB of what is small;
        - images: 10 f n(radius) b: transforms, CTFs, weights;
        - first pass: the largest of what it takes to prepare images, (2 f N^2 + (4 f + 48) n(N/2)) b; their shifted
          copies, twice, 4 f n(coarse) t b; one of those with scores, 2 f P, and in local searches slices of each
          image's own, (2 f n(coarse) + 400) o b; or with scores, priors, (3 f + 5) P + f b t min(o, 1024), and the list
          of what is near the best, (4 f + 62) L + 17 rows;
        - second pass: (4 f + 41) 32 p while a posterior is cut, with slices 16 f n v; or its weights, 64 f p, with
          slices and their sums, 40 f n v, and 6 f n u; and 60 p + 600 v;
        - result: 7 f c: D and W in floating point, and a copy of them on the way to the host; one reference after
          another, less the integers of those that are done;
        - accuracy: 35 (4 f + 32) n for each of as many of 100 particles as are below 0.13 GB, or one; 200 f n.

        With lists, for segments of filaments, every image has shifts of its own for each of them.
        """
        s, f = self.size, self.size.itemsize
        n, coarse, cells = s.pixels(s.radius), s.pixels(s.coarse_radius), sphere_cells(s.radius)
        if s.fixed:
            return self._fixed_peak(block)
        lists = max(1, s.lists)
        poses, shifted = block * s.shifts * s.n_orientations, 2 * f * coarse * s.shifts * block * lists
        tile = f * block * s.shifts * (0 if s.local else min(s.n_orientations, TILE))
        floats = 2 * coarse * (s.shared_rows or s.n_orientations)
        kept = 0 if s.local else floats if floats <= CACHED_FLOATS else 2 * coarse * TILE
        own = block * s.n_orientations * (2 * coarse * f + 400) if s.local else 0
        together = min(block, IMAGES_TOGETHER["cuda"])
        pairs = min(together * s.shifts * s.n_orientations, PAIRS_PER_BATCH)
        rows = min(pairs, s.rows or s.n_orientations, max(2, BLOCK_BYTES["cuda"] // (8 * n * CHILD_ORIENTATIONS)))
        slices, samples = CHILD_ORIENTATIONS * n * f * rows, CHILDREN * pairs
        listed = (4 * f + 62) * min(poses, CAPACITY) + 17 * s.rows
        particles = min(PARTICLES, max(1, BYTES_AT_ONCE // bytes_per_particle(n, f)))
        return DevicePeak(
            context=CONTEXT_BYTES,
            transform=self._transform_bytes(),
            volumes=((2 * f + 24) * s.references + 2 * f * s.others) * cells,
            slices=f * kept + self._tables_bytes(),
            images=10 * f * n * block,
            first_pass=max(
                self._prepare_bytes() * block,
                2 * shifted,
                shifted + own + 2 * f * poses + tile,
                shifted + (3 * f + 5) * poses + tile + listed,
            ),
            second_pass=60 * pairs
            + 600 * rows
            + max((4 * f + 41) * samples + 2 * slices, 2 * f * samples + 5 * slices + 6 * f * n * together)
            + (RAMP_BYTES if s.lists else 0),
            result=7 * f * cells,
            accuracy=particles * bytes_per_particle(n, f) + 2 * PARTICLES * f * n,
        )

    def _fixed_peak(self, block: int) -> DevicePeak:
        """Where poses are given: maps and sums side by side, and what is made of some images at once."""
        s, f = self.size, self.size.itemsize
        n, cells = s.pixels(s.radius), sphere_cells(s.radius)
        groups, lanes = groups_and_lanes(s.references)
        lane = 5 if lanes == LANES_OF_A_GROUP else 6
        return DevicePeak(
            context=CONTEXT_BYTES,
            transform=self._transform_bytes(),
            volumes=2 * f * cells * s.references + lane * f * cells * groups * lanes,
            slices=self._tables_bytes(),
            images=20 * f * n * block,
            first_pass=self._prepare_bytes() * min(block, FIXED_CHUNK) + SAMPLES_PER_CHUNK * 8 * f * lanes * groups,
            second_pass=0,
            result=4 * f * cells * s.references,
            accuracy=0,
        )

    @property
    def image_bytes(self) -> int:
        """What one more image of a block takes."""
        one, two = self.peak(1), self.peak(2)
        return max(1, max(two.images + two.first_pass - one.images - one.first_pass, two.images - one.images))

    def block_size(self, memory_bytes: float) -> int:
        """Images per block: the largest power of two that fits; 1 where not even that does."""
        images = LARGEST_FIXED_BLOCK if self.size.fixed else LARGEST_BLOCK
        while images > 1 and self.peak(images).total > IN_USE * memory_bytes:
            images //= 2
        return images

    def _prepare_bytes(self) -> int:
        s, f = self.size, self.size.itemsize
        return 2 * f * s.box_px**2 + (4 * f + 48) * s.pixels(s.box_px // 2)

    def _tables_bytes(self) -> int:
        s, f = self.size, self.size.itemsize
        return (
            SMALL_BYTES
            + 4 * f * s.box_px**2
            + 48 * s.pixels(s.box_px // 2)
            + 2 * f * s.pixels(s.coarse_radius) * s.shifts
        )

    def _transform_bytes(self) -> int:
        s = self.size
        before = 2 * s.itemsize * sphere_cells(s.radius) * (s.references - 1 + s.others)
        return 9 * s.itemsize * (PADDING * s.box_px) ** 3 // 4 + before
