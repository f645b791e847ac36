"""Whole iterations, step by step: whatever the other half's images are, a half's own results keep every bit.

What the halves may share (`docs/algorithm.md`, section 8) is held fixed: the FSC, the first noise spectrum, the mask (a
sphere) and the joined shells (none). A method with a Nyquist frequency of its own makes the references cross over.
"""

import numpy as np
import pytest
import torch
from disturbed_set import disturbed
from numpy.testing import assert_array_equal

from blush.io.files import load_npz, read_json
from blush.jobs import denoise_and_trail as maps_module
from blush.jobs import start as start_module
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state
from blush.refine.subset import Subset
from blush.regularise.wiener import Unregularised

BOX, PIXEL_ANGST, LAST = 32, 6.5, 3
CROSS_OVER = 4
FSC = np.interp(np.arange(BOX // 2 + 1), [0, 5, 11, 16], [1.0, 0.95, 0.1, 0.0])


class Coarse(Unregularised):
    """Half-maps as they are, from a method that works no finer than shell 6."""

    nyquist_angst = BOX * PIXEL_ANGST / (CROSS_OVER + 2.2)


@pytest.fixture
def nothing_shared(monkeypatch):
    """Both halves of a run have in common only what is the same in every run here."""
    noise = np.full((1, BOX // 2 + 1), 1e-3)
    monkeypatch.setattr(start_module, "initial_noise", lambda *_: torch.from_numpy(noise))
    monkeypatch.setattr(maps_module, "half_map_fsc", lambda *_: (FSC.copy(), FSC.copy()))
    monkeypatch.setattr(maps_module, "join_low_resolution", lambda first, second, shell: (first, second))
    monkeypatch.setattr(maps_module, "regulariser", lambda settings: Coarse())


def refine(make_config, folder, output):
    """All iterations of a set; the last one makes the final half-maps."""
    config = make_config(
        output, particles=folder / "particles.star", mask="sphere",
        refinement={"max_iterations": LAST, "keep_iterations": 9},
    )  # fmt: skip
    steps.import_run(config)
    steps.start(config.run_dir)
    for iteration in range(1, LAST + 1):
        iterate(config.run_dir, iteration)
    return RunFolder(config.run_dir)


def results(folder, half):
    """Everything that is a half's own, by name."""
    rows, out = read_plan(folder.root).rows[half - 1], {}
    for n in range(1, LAST + 1):
        for path in (folder.statistics(n, Subset(half)), folder.sums(n, Subset(half))):
            single = ("accuracy_rotation_deg", "accuracy_offset_angst")
            out |= {f"{path.name} {n} {k}": v for k, v in load_npz(path).items() if k not in single}
        out |= {f"pose {n} {name}": column[rows] for name, column in load_npz(folder.poses(n)).items()}
        out[f"directions {n}"] = load_npz(folder.directions(n))[f"half{half}"]
        state = load_state(folder.state(n))
        for name in ("noise", "scale", "norm_average", "sigma_offset_angst"):
            out[f"{name} {n}"] = np.array(getattr(state.images, name)[half - 1])
    maps = [folder.map(n, Subset(half), "reference") for n in range(1, LAST)] + [
        folder.map(None, Subset(half), "unfiltered")
    ]
    return out | {path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in maps}


@pytest.mark.parametrize("half", [1, 2])
def test_a_half_does_not_know_the_images_of_the_other(half, simulated, make_config, nothing_shared, tmp_path):
    other = 3 - half
    plain = refine(make_config, simulated, tmp_path / "plain")
    others = disturbed(simulated, tmp_path / "set", read_plan(plain.root).rows[other - 1])
    changed = refine(make_config, others, tmp_path / "changed")
    assert read_json(plain.diagnostics(2))["regulariser"]["cross_over_shell"] == CROSS_OVER
    expected, found = results(plain, half), results(changed, half)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert_array_equal(found[name], values, err_msg=name)
    expected, found = results(plain, other), results(changed, other)
    final = plain.map(None, Subset(other), "unfiltered").name
    for name in (f"half{other}_sums.npz {LAST} grid_001", f"noise {LAST}", final):
        assert not np.array_equal(expected[name], found[name]), name
