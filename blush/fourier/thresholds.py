"""Values of a Fourier shell correlation at which maps count as resolved."""

import math

HALF_MAPS = 0.143
"""Between half-maps, where the map of all particles correlates 0.5 with the truth; Rosenthal & Henderson 2003."""
TRUTH = math.sqrt(2 * HALF_MAPS / (1 + HALF_MAPS))
"""Between a map and the truth, where its halves correlate `HALF_MAPS`: 0.5002."""
