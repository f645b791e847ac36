"""What was in the images that were read: a digest for each stack, taken while they are read anyway."""

import numpy as np
import xxhash


class ImageDigests:
    """XXH3 (128 bits) of the pixels read from each stack, as stored, in the order in which they were read.

    The digest does not depend on how the images were divided into blocks, as long as their order is the same.
    """

    def __init__(self) -> None:
        self._states: dict[int, xxhash.xxh3_128] = {}

    def add(self, stack: int, images: np.ndarray) -> None:
        """Add (n, h, w) images of a stack in the type they are stored in."""
        self._states.setdefault(stack, xxhash.xxh3_128()).update(np.ascontiguousarray(images).view(np.uint8).data)

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Stacks (k,) int32 in ascending order, and their digests (k, 16) uint8."""
        stacks = sorted(self._states)
        digests = b"".join(self._states[stack].digest() for stack in stacks)
        return np.array(stacks, dtype=np.int32), np.frombuffer(digests, dtype=np.uint8).reshape(-1, 16)
