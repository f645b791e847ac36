"""What is in images: a digest of each, taken while they are read anyway."""

import numpy as np
import xxhash


def image_digests(images: np.ndarray) -> np.ndarray:
    """XXH3 (64 bits) of each image's pixels as stored: images (n, h, w) of any type to (n,) uint64."""
    # one call of a compiled function an image, as a file of ours would need one a file: 1 to 2 µs beside its reading
    rows = np.ascontiguousarray(images).view(np.uint8).reshape(len(images), -1)
    return np.fromiter((xxhash.xxh3_64_intdigest(row.data) for row in rows), dtype=np.uint64, count=len(images))
