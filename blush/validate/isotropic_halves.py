"""What the conical FSC area ratio of half-maps would be if their signal were the same in all directions.

The ratio is one of extremes and never reaches 1: the smaller the mask and the weaker the signal, the less. Random maps
under the same mask, with the same FSC by shell and the same symmetry, say how much less. Mates are taken as independent
where they are neighbours, around a symmetry axis, which makes the ratio up to 0.1 too high there.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from blush.validate.directional_fsc import Cells, HalfSpace, area_ratio, correlation

MAPS = 6
"""Random maps; each is the signal once, with two others as noise."""
_GENERIC = (0.41230817, 0.16974319, 0.89508817)
"""On no symmetry axis or mirror plane of any point group."""


def isotropic_ratios(curve: Tensor, mask: Tensor, axes: Tensor, operators: Tensor, seed: int) -> Tensor:
    """Area ratios of random isotropic halves.

    Products of random maps are summed once; any FSC between halves is a sum of these, weighted by shell.

    Parameters
    ----------
    curve
        (s,) FSC of the masked halves: the share of signal in the power of each.
    mask
        (N, N, N).
    axes
        (a, 3) unit vectors.
    operators
        (o, 3, 3); the draws are those of an asymmetric unit, and each has its mates.
    seed
        That of the draws.

    Returns
    -------
    (r,) float64.
    """
    generator = torch.Generator().manual_seed(seed)
    space = HalfSpace.build(mask.shape[0])
    inside, repeated = space.cells.in_cones(axes), _repeated(space.cells, axes, operators)
    ones = torch.ones(len(space.kept))
    count, drawn = space.summed(ones, ones, inside), space.summed(ones, ones, repeated)
    count = torch.where(drawn > 0, count, 0.0)
    maps = [space.transform(mask * torch.randn(mask.shape, generator=generator)) for _ in range(MAPS)]
    pairs = [(i, j) for i in range(MAPS) for j in range(i, MAPS)]
    sums = {pair: space.summed(maps[pair[0]], maps[pair[1]], repeated) for pair in pairs}
    sums |= {(j, i): total for (i, j), total in sums.items()}
    signal = curve.double().clamp(0, 1)
    noise, both = 1 - signal, (signal * (1 - signal)).sqrt()
    found = []
    for s in range(MAPS):
        for a, b in combinations([i for i in range(MAPS) if i != s], 2):
            cross = signal * sums[s, s] + both * (sums[s, a] + sums[s, b]) + noise * sums[a, b]
            one, other = (signal * sums[s, s] + 2 * both * sums[s, n] + noise * sums[n, n] for n in (a, b))
            found.append(area_ratio(correlation(cross, one, other, count), count))
    return torch.stack(found)


def _repeated(cells: Cells, axes: Tensor, operators: Tensor) -> Tensor:
    """(c, a) how often the mates of a cell lie in a cone, for the cells of one asymmetric unit; 0 for the others."""
    generic = torch.tensor(_GENERIC, dtype=torch.float64)
    closeness = (cells.middle @ (operators @ generic).T).abs()
    unit = closeness[:, 0] >= closeness.amax(1) - 1e-9
    times = torch.zeros(len(cells.middle), len(axes), dtype=torch.float64)
    for operator in operators:
        times[unit] += Cells(cells.ring_start, cells.ring_count, cells.middle[unit]).in_cones(axes @ operator)
    return times
