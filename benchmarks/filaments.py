"""Filaments that helical refinement is measured on (docs/simulation.md); `make_sets.py` makes them."""

from typing import Any

_SMALL = {"box_px": 48, "pixel_size_angst": 4.0}
_TWENTY = {"rise_angst": 21, "twist_deg": 37, "count": 16, "segments": 12, "units_per_segment": 2, "reversed": 7}
# Two flat chains of 30 residues, 3.8 Å apart along each, whose rungs are 4.75 Å apart
_THIN = {
    "chain": {"beads": 30, "spacing_angst": 3.8, "sigma_angst": 1.0, "extent_angst": 17, "height_angst": 0},
    "radius_angst": 14,
    "count": 24,
    "segments": 16,
    "reversed": 11,
    "curvature_deg_per_angst": 0.004,
    "tilt_deg": 2,
    "across_sd_angst": 2,
    "psi_error_deg": 1,
}
_FINE = {"box_px": 96, "pixel_size_angst": 1.9, "defocus_min_angst": 6000, "defocus_max_angst": 16000}
_AMYLOID = {"imaging": _FINE, "noise": {"snr": 0.1}, "initial_lowpass_angst": 15}

# Where refinements of a set start, and what they search; of others the symmetry is known
STARTS: dict[str, dict[str, Any]] = {
    "filament_twenty": {
        "rise_angst": 22,
        "twist_deg": 34,
        "rise_range_angst": [19, 24],
        "twist_range_deg": [30, 40],
        "central_fraction": 0.4,
    },
    "filament_amyloid": {"twist_deg": -180.5, "twist_range_deg": [-180.8, -180.4]},
    "filament_amyloid_c2": {"twist_deg": -1.0, "twist_range_deg": [-1.6, -0.8]},
}


def start_of(settings: dict[str, Any]) -> dict[str, Any]:
    """Section `helix` of a refinement of the set that `set.json` describes, of any seed."""
    return settings["helix"] | STARTS.get(settings["name"].split("_seed")[0], {})


FILAMENTS: dict[str, dict[str, Any]] = {
    # A helix of 20 Å rise: noise of 1.5 times the signal's standard deviation, 7 of 16 filaments reversed
    "filament_twenty": {"filaments": _TWENTY, "imaging": _SMALL, "noise": {"snr": 0.44}},
    # Two protofilaments by a screw: 2_1, slow twist of -1.2 degrees a rung
    "filament_amyloid": {
        "filaments": _THIN | {"rise_angst": 2.375, "twist_deg": -180.6, "units_per_segment": 6},
        **_AMYLOID,
    },
    # Two equal ones by rotation: C2, the same slow twist
    "filament_amyloid_c2": {
        "filaments": _THIN | {"rise_angst": 4.75, "twist_deg": -1.2, "fold": 2, "units_per_segment": 3},
        **_AMYLOID,
    },
    # A wide helix with a rotational symmetry
    "filament_c2": {
        "filaments": _TWENTY | {"rise_angst": 24, "twist_deg": -52, "fold": 2, "radius_angst": 34},
        "imaging": _SMALL | {"box_px": 56},
        "noise": {"snr": 0.3},
    },
    # Adenylate kinases (1AKE, of which the shipped networks saw nothing) on a helix of 28 Å rise: atoms in solvent
    "filament_protein": {
        "specimen": {"model": "1ake.cif.gz", "chains": ["A"], "copies": "none"},
        "filaments": _TWENTY | {"unit": "specimen", "rise_angst": 28, "twist_deg": 65, "radius_angst": 24},
        "imaging": {"box_px": 64, "pixel_size_angst": 3.2},
        "noise": {"snr": 0.3},
    },
    # Nothing but noise where filaments are said to be, and filaments whose phases are random: no map may come of them
    "filament_noise": {"filaments": _TWENTY | {"content": "noise"}, "imaging": _SMALL, "noise": {"snr": 0.44}},
    "filament_phases": {
        "filaments": _TWENTY | {"content": "random_phases"},
        "imaging": _SMALL,
        "noise": {"snr": 0.44},
    },
}
