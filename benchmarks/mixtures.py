"""Mixtures that classification is measured on (docs/simulation.md); `make_sets.py` makes them."""

from typing import Any

_GROEL = {"model": "1aon.cif.gz", "symmetry": "C7", "copies": "align"}
_GROEL_IMAGES = {"n_particles": 1000, "box_px": 48, "pixel_size_angst": 6.0, "envelope_bfactor_angst2": 100}
# The lower end of an antibody's arm, and the arm itself, turned in its plane with the stem about the upper hinge.
_ARM = {
    "change": "rotate",
    "select": {"chains": ["A", "B"], "residues": [[1, 225]]},
    "through": {"chains": ["B"], "residues": [[226, 240]]},
    "angle_deg": [-15, 0, 15],
}

MIXTURES: dict[str, dict[str, Any]] = {
    # GroEL (0.73 MDa) with and without GroES (70 kDa)
    "mixture_composition": {
        "specimen": _GROEL,
        "species": [
            {"name": "with_groes", "fraction": 0.6, "symmetry": "C7"},
            {
                "name": "without_groes",
                "fraction": 0.4,
                "symmetry": "C7",
                "changes": [{"change": "remove", "select": {"chains": list("OPQRSTU")}}],
            },
        ],
        "imaging": _GROEL_IMAGES,
        "noise": {"snr": 0.2},
    },
    # Antibody (148 kDa), one arm of 47 kDa at three angles
    "mixture_hinge": {
        "specimen": {"model": "1igt.cif.gz"},
        "species": [{"name": "arm", "fraction": 1, "changes": [_ARM | {"axis": [0.94, 0.16, 0.31]}]}],
        "imaging": {"n_particles": 1200, "box_px": 64, "pixel_size_angst": 3.8, "envelope_bfactor_angst2": 100},
        "noise": {"snr": 0.05},
    },
    # Calcium channel (308 kDa, without its membrane) with and without a subunit of 9 kDa: for classification in a mask
    "mixture_ligand": {
        "specimen": {"model": "5gjv.cif.gz"},
        "species": [
            {"name": "bound", "fraction": 0.5},
            {"name": "free", "fraction": 0.5, "changes": [{"change": "remove", "select": {"chains": ["B"]}}]},
        ],
        "imaging": {"n_particles": 1500, "box_px": 64, "pixel_size_angst": 4.4, "envelope_bfactor_angst2": 100},
        "noise": {"snr": 0.2},
    },
    # Nitrogenase (264 kDa), 5 % of it without its iron protein (55 kDa)
    "mixture_minority": {
        "specimen": {"model": "1n2c.cif.gz"},
        "species": [
            {"name": "complex", "fraction": 0.95},
            {"name": "alone", "fraction": 0.05, "changes": [{"change": "remove", "select": {"chains": ["B"]}}]},
        ],
        "imaging": {"n_particles": 2000, "box_px": 64, "pixel_size_angst": 3.2, "envelope_bfactor_angst2": 100},
        "noise": {"snr": 0.08},
    },
    # Clathrin adaptor AP2 (192 kDa) with and without its smallest subunit (17 kDa), at low signal
    "mixture_lowsnr_composition": {
        "specimen": {"model": "2vgl.cif.gz"},
        "species": [
            {"name": "bound", "fraction": 0.5},
            {"name": "free", "fraction": 0.5, "changes": [{"change": "remove", "select": {"chains": ["S"]}}]},
        ],
        "imaging": {"n_particles": 1500, "box_px": 64, "pixel_size_angst": 3.2, "envelope_bfactor_angst2": 100},
        "noise": {"snr": 0.04},
    },
    # Another antibody (146 kDa), one arm at three angles, at low signal
    "mixture_lowsnr_hinge": {
        "specimen": {"model": "1igy.cif.gz"},
        "species": [{"name": "arm", "fraction": 1, "changes": [_ARM | {"axis": [0.9, -0.42, 0.12]}]}],
        "imaging": {"n_particles": 1500, "box_px": 64, "pixel_size_angst": 3.6, "envelope_bfactor_angst2": 100},
        "noise": {"snr": 0.015},
    },
    # One class, and none: what a classification must not find classes in
    "mixture_homogeneous": {
        "specimen": _GROEL,
        "species": [{"name": "with_groes", "fraction": 1, "symmetry": "C7"}],
        "imaging": _GROEL_IMAGES,
        "noise": {"snr": 0.2},
    },
    "mixture_noise_only": {
        "specimen": _GROEL,
        "junk": {"noise": 1.0},
        "imaging": _GROEL_IMAGES,
        "noise": {"snr": 0.2},
    },
    # DNA polymerase beta on DNA (44 kDa) among 40 % junk
    "mixture_small_junk": {
        "specimen": {"model": "5ugo.cif.gz"},
        "junk": {"noise": 0.15, "broken": 0.1, "blobs": 0.05, "edges": 0.05, "off_centre": 0.05},
        "imaging": {
            "n_particles": 2000,
            "box_px": 64,
            "pixel_size_angst": 1.8,
            "offset_sd_angst": 3,
            "defocus_min_angst": 6000,
            "defocus_max_angst": 16000,
            "envelope_bfactor_angst2": 100,
        },
        "noise": {"snr": 0.12},
        "initial_lowpass_angst": 30,
    },
}
