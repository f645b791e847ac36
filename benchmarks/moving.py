"""Molecules in bodies that multi-body refinement is measured on (docs/simulation.md); `make_sets.py` makes them."""

from typing import Any

# mTOR with LST8, a dimer as crystals have it: two halves of 147 kDa each.
_HALVES = [{"name": "first", "select": {"chains": ["A", "C"]}}, {"name": "second", "select": {"chains": ["B", "D"]}}]
_HALVES_IMAGES = {"n_particles": 1000, "box_px": 64, "pixel_size_angst": 3.6, "envelope_bfactor_angst2": 100}
_WOBBLE = {"motion": "turn", "width_deg": 2}
_FAB = {"motion": "turn", "width_deg": 6}

MOVING: dict[str, dict[str, Any]] = {
    # Two equal bodies: one turns evenly by up to 10 degrees to either side, about an axis across the contact
    "bodies_equal": {
        "specimen": {"model": "4jsv.cif.gz"},
        "bodies": [
            _HALVES[0],
            _HALVES[1]
            | {"motions": [{"motion": "turn", "axis": [0, 1, 0], "spread": "uniform", "width_deg": 10}, _WOBBLE]},
        ],
        "imaging": _HALVES_IMAGES,
        "noise": {"snr": 0.1},
    },
    # RNA polymerase II (420 kDa): clamp and stalk, 17 % of it, by up to 15 degrees
    "bodies_small": {
        "specimen": {"model": "1y1v.cif.gz"},
        "bodies": [
            {"name": "core"},
            {
                "name": "clamp",
                "select": [{"chains": ["D", "G"]}, {"chains": ["A"], "residues": [[1, 346]]}],
                "motions": [{"motion": "turn", "axis": [0, 1, 1], "spread": "uniform", "width_deg": 15}, _WOBBLE],
            },
        ],
        "imaging": _HALVES_IMAGES | {"pixel_size_angst": 4.2},
        "noise": {"snr": 0.15},
    },
    # GroEL and GroES (780 kDa) in three bodies of 357, 356 and 67 kDa; the cap rides on its ring
    "bodies_three": {
        "specimen": {"model": "1aon.cif.gz"},
        "bodies": [
            {"name": "cis", "select": {"chains": list("ABCDEFG")}},
            {
                "name": "trans",
                "select": {"chains": list("HIJKLMN")},
                "motions": [{"motion": "turn", "width_deg": 5}, {"motion": "shift", "width_angst": 1}],
            },
            {
                "name": "cap",
                "rides_on": "cis",
                "motions": [{"motion": "turn", "width_deg": 6}, {"motion": "shift", "width_angst": 2}],
            },
        ],
        "imaging": _HALVES_IMAGES | {"pixel_size_angst": 4.5},
        "noise": {"snr": 0.15},
    },
    # Nitrogenase (263 kDa) whose iron protein (55 kDa) has two places, 20 degrees apart
    "bodies_bimodal": {
        "specimen": {"model": "1n2c.cif.gz"},
        "bodies": [
            {"name": "core"},
            {
                "name": "iron",
                "select": {"chains": ["B"]},
                "motions": [
                    {"motion": "turn", "axis": [1, 0, 0], "spread": "bimodal", "separation_deg": 20, "width_deg": 2,
                     "first_share": 0.4},
                    {"motion": "turn", "width_deg": 1.5},
                ],
            },
        ],
        "imaging": _HALVES_IMAGES | {"pixel_size_angst": 3.2},
        "noise": {"snr": 0.12},
    },
    # An antibody (138 kDa): stem and two arms of about 46 kDa each, at low signal
    "bodies_lowsnr": {
        "specimen": {"model": "1igt.cif.gz"},
        "bodies": [
            {"name": "stem"},
            {
                "name": "arm",
                "select": [{"chains": ["A"]}, {"chains": ["B"], "residues": [[1, 225]]}],
                "motions": [_FAB | {"through": {"chains": ["B"], "residues": [[226, 240]]}}],
            },
            {
                "name": "other_arm",
                "select": [{"chains": ["C"]}, {"chains": ["D"], "residues": [[1, 225]]}],
                "motions": [_FAB | {"through": {"chains": ["D"], "residues": [[226, 240]]}}],
            },
        ],
        "imaging": _HALVES_IMAGES | {"n_particles": 1500, "pixel_size_angst": 3.8},
        "noise": {"snr": 0.06},
    },
    # One rigid molecule that is cut in two: no motion is there to be found
    "bodies_rigid": {
        "specimen": {"model": "4jsv.cif.gz"},
        "bodies": _HALVES,
        "imaging": _HALVES_IMAGES,
        "noise": {"snr": 0.1},
    },
    # The second half points anywhere: its map is a blur, and no resolution of it can be true
    "bodies_blurred": {
        "specimen": {"model": "4jsv.cif.gz"},
        "bodies": [
            _HALVES[0],
            _HALVES[1] | {"motions": [{"motion": "turn", "through": [-34, -5, -2], "width_deg": 70}]},
        ],
        "imaging": _HALVES_IMAGES,
        "noise": {"snr": 0.1},
    },
}  # fmt: skip
