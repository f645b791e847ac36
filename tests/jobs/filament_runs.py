"""A small set of filaments, and the configuration that refines it."""

from pathlib import Path

from blush.config import RunConfig
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings

LAST = 3


TRUE = {"rise_angst": 21, "twist_deg": 37, "central_fraction": 0.5, "tube_diameter_angst": 120}
"""Section `helix` of a refinement with the true symmetry, which nothing searches."""


def simulated_filaments(out: Path, count: int = 6, against: int = 2) -> Path:
    """Filaments of six segments, some of which look against their tracks; returns the folder."""
    helix = {"rise_angst": 21, "twist_deg": 37, "count": count, "segments": 6, "units_per_segment": 2}
    helix["reversed"] = against
    imaging = {"box_px": 32, "pixel_size_angst": 6.0}
    simulate(load_settings(None, {"filaments": helix, "imaging": imaging, "noise": {"snr": 1.0}, "output": out}))
    return out


def config_of(filaments, output, **changes) -> RunConfig:
    settings = {
        "name": "tiny",
        "job": "helix",
        "particles": filaments / "particles.star",
        "reference": filaments / "reference.mrc",
        "particle_diameter_angst": 170,
        "helix": {
            "rise_angst": 21,
            "twist_deg": 36,
            "twist_range_deg": [34, 40],
            "central_fraction": 0.4,
            "tube_diameter_angst": 120,
        },
        "sampling": {"healpix_order": 2, "offset_range_px": 2, "offset_step_px": 1},
        "refinement": {"max_iterations": LAST},
        "compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3},
        "output": output,
    }
    return RunConfig.model_validate(settings | changes)
