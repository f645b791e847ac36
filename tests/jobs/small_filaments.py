"""A small set of filaments and its refinement, which takes seconds."""

from pathlib import Path
from typing import Any

from blush.config import RunConfig
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings


def simulated(out: Path) -> Path:
    """Eight filaments of six segments, none reversed."""
    helix = {"rise_angst": 21, "twist_deg": 37, "count": 8, "segments": 6, "units_per_segment": 2, "reversed": 0}
    imaging = {"box_px": 32, "pixel_size_angst": 6.0}
    simulate(load_settings(None, {"filaments": helix, "imaging": imaging, "noise": {"snr": 1.0}, "output": out}))
    return out


def config_of(filaments: Path, output: Path, **changes: Any) -> RunConfig:
    """Three iterations with the true symmetry; changes of `helix` go into that section."""
    helix = {"rise_angst": 21, "twist_deg": 37, "central_fraction": 0.5, "tube_diameter_angst": 120}
    settings = {
        "name": "tiny", "job": "helix", "particles": filaments / "particles.star",
        "reference": filaments / "reference.mrc", "particle_diameter_angst": 170,
        "helix": helix | changes.pop("helix", {}),
        "sampling": {"healpix_order": 2, "offset_range_px": 2, "offset_step_px": 1},
        "refinement": {"max_iterations": 3}, "compute": {"device": "cpu", "memory_gb": 1}, "output": output,
    }  # fmt: skip
    return RunConfig.model_validate(settings | changes)
