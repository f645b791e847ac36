"""The solvent mask of a refinement holds what both halves share, and nothing else."""

import torch

from blush.fourier.backproject import Accumulator
from blush.fourier.transform import sphere_k2
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.jobs.map_rules import MapRules
from blush.jobs.reduce import load_sums
from blush.refine.state import load_state
from blush.refine.subset import Subset


def test_the_automatic_mask_sees_joined_shells_alone(run):
    """Sums beyond them are exchanged for others, a hundred times as strong."""
    folder, config = RunFolder(run), read_config(run)
    state = load_state(folder.state(1))
    assert config.mask == "auto"
    first, second = (load_sums(folder, 2, Subset(half), 32, torch.device("cpu")) for half in (1, 2))
    total = Accumulator(first.grid + second.grid, 32, first.r_max)
    beyond = sphere_k2(total.radius) > (2 * 5) ** 2
    other = Accumulator(torch.where(beyond[..., None], 100 * total.grid.flip(0), total.grid), 32, first.r_max)
    masks = [MapRules(folder, config, state).solvent_mask(sums, 5) for sums in (total, other)]
    assert torch.equal(*masks)
    assert 0 < float(masks[0].mean()) < 0.9
