"""Make the simulated benchmark sets that `peer.py` and `paired.py` refine.

    python benchmarks/make_sets.py TARGET MODELS [NAME ...]

TARGET is a folder outside the repository; MODELS holds the wwPDB entries named below as `1abc.cif.gz`. Each set is what
`blush simulate` writes, with `set.json` for the refinement programs. Sets named `mixture_...` (`mixtures.py`) are for
classification: their truth has classes, and `set.json` names the true maps and the mask around what differs. Sets named
`bodies_...` (`moving.py`) are for multi-body refinement: `set.json` names the list of their bodies. Sets named
`filament_...` (`filaments.py`) are segments of filaments: `set.json` has their helix.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from filaments import FILAMENTS
from mixtures import MIXTURES
from moving import MOVING

from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings

# For scale: the signal of real beta-galactosidase (0.47 MDa, EMPIAR-10204 at 3.54 Å/px, 200 kV), measured from its
# refined map and poses by the definition of `blush.simulate.settings.Noise`, has 0.11 of the variance of its noise.
# Per pixel, signal over noise falls as the pixel's area.
SETS: dict[str, dict] = (
    {
        # p97, 0.5 MDa, soluble
        "soluble": {
            "specimen": {"model": "8uv2.cif.gz", "symmetry": "C6", "copies": "average"},
            "imaging": {"n_particles": 500, "box_px": 64, "pixel_size_angst": 3.5, "offset_sd_angst": 5},
            "noise": {"snr": 0.08},
        },
        # Eag potassium channel, 0.35 MDa, in a detergent micelle
        "membrane": {
            "specimen": {
                "model": "8eow.cif.gz",
                "symmetry": "C4",
                "copies": "average",
                "belt": {"center_z_angst": 38, "core_height_angst": 30, "core_width_angst": 14},
            },
            "imaging": {"n_particles": 400, "box_px": 128, "pixel_size_angst": 2.0, "envelope_bfactor_angst2": 100},
            "noise": {"snr": 0.03},
        },
        # Inorganic pyrophosphatase, 64 kDa, C2: small, so that each image says little about its pose
        "small": {
            "specimen": {"model": "1e9g.cif.gz", "symmetry": "C2", "copies": "average"},
            "imaging": {
                "n_particles": 400,
                "box_px": 64,
                "pixel_size_angst": 2.2,
                "offset_sd_angst": 3,
                "defocus_min_angst": 6000,
                "defocus_max_angst": 16000,
                "envelope_bfactor_angst2": 100,
            },
            "noise": {"snr": 0.12},
            "initial_lowpass_angst": 30,
        },
        # The same with a quarter less signal: on the edge of what can be aligned, where regularisers differ
        "lowsnr": {
            "specimen": {"model": "1e9g.cif.gz", "symmetry": "C2", "copies": "average"},
            "imaging": {
                "n_particles": 400,
                "box_px": 64,
                "pixel_size_angst": 2.2,
                "offset_sd_angst": 3,
                "defocus_min_angst": 6000,
                "defocus_max_angst": 16000,
                "envelope_bfactor_angst2": 100,
            },
            "noise": {"snr": 0.09},
            "initial_lowpass_angst": 30,
        },
        # The channel in its micelle at coarser pixels, so that many refinements can be compared
        "micelle": {
            "specimen": {
                "model": "8eow.cif.gz",
                "symmetry": "C4",
                "copies": "average",
                "belt": {"center_z_angst": 38, "core_height_angst": 30, "core_width_angst": 14},
            },
            "imaging": {"n_particles": 400, "box_px": 64, "pixel_size_angst": 3.4, "envelope_bfactor_angst2": 100},
            "noise": {"snr": 0.06},
        },
        # KcsA with Fabs, 0.23 MDa, C4, seen mostly along its axis and from one side
        "preferred": {
            "specimen": {"model": "1k4c.cif.gz", "assembly": "1", "symmetry": "C4", "copies": "average"},
            "imaging": {"n_particles": 500, "box_px": 64, "pixel_size_angst": 2.8, "envelope_bfactor_angst2": 100},
            "views": {"preferred_axes": [[0, 0, 1], [0, 0, -1], [1, 0.4, 0.2]], "concentration": 12},
            "noise": {"snr": 0.06},
        },
        # Four more on the edge of what can be aligned, of structures that no shipped network was trained on.
        # Cysteine desulfurase complex, 99 kDa, without symmetry
        "soluble99": {
            "specimen": {"model": "4lw4.cif.gz"},
            "imaging": {
                "n_particles": 400,
                "box_px": 64,
                "pixel_size_angst": 2.6,
                "offset_sd_angst": 3,
                "envelope_bfactor_angst2": 100,
            },
            "noise": {"snr": 0.11},
            "initial_lowpass_angst": 30,
        },
        # Formate dehydrogenase H, 81 kDa, one compact chain
        "soluble81": {
            "specimen": {"model": "1fdo.cif.gz"},
            "imaging": {
                "n_particles": 400,
                "box_px": 64,
                "pixel_size_angst": 2.3,
                "offset_sd_angst": 3,
                "envelope_bfactor_angst2": 100,
            },
            "noise": {"snr": 0.18},
            "initial_lowpass_angst": 30,
        },
        # Sliding clamp on DNA, 88 kDa
        "nucleic88": {
            "specimen": {"model": "3bep.cif.gz"},
            "imaging": {
                "n_particles": 400,
                "box_px": 64,
                "pixel_size_angst": 2.4,
                "offset_sd_angst": 3,
                "envelope_bfactor_angst2": 100,
            },
            "noise": {"snr": 0.19},
            "initial_lowpass_angst": 30,
        },
        # KcsA with Fabs again, with less signal
        "preferredlow": {
            "specimen": {"model": "1k4c.cif.gz", "assembly": "1", "symmetry": "C4", "copies": "average"},
            "imaging": {"n_particles": 400, "box_px": 64, "pixel_size_angst": 2.8, "envelope_bfactor_angst2": 100},
            "views": {"preferred_axes": [[0, 0, 1], [0, 0, -1], [1, 0.4, 0.2]], "concentration": 12},
            "noise": {"snr": 0.04},
        },
    }
    | MIXTURES
    | MOVING
    | FILAMENTS
)


def make_set(name: str, target: Path, models: Path, changes: dict, seed: int = 1) -> Path:
    """Simulate one set and write its `set.json`; seeds other than 1 go to folders of their own."""
    content = json.loads(json.dumps(SETS[name])) | {"seed": seed}
    if "specimen" in content:
        content["specimen"]["model"] = str(models / content["specimen"]["model"])
    name = name if seed == 1 else f"{name}_seed{seed}"
    content["output"] = str(target / name)
    for key, value in changes.items():
        section, _, field = key.partition(".")
        if key == "imaging.n_particles" and "filaments" in content:
            content["filaments"] |= fewer_filaments(content["filaments"], value)
        else:
            content[section][field] = value
    simulate(load_settings(None, content))
    summary = json.loads((target / name / "simulation.json").read_text())
    settings: dict[str, Any] = {
        "name": name,
        "particles": "particles.star",
        "reference": "reference.mrc",
        "mask": "mask.mrc",
        "particle_diameter_angst": summary["derived"]["particle_diameter_angst"],
        "symmetry": content.get("specimen", {}).get("symmetry", "C1"),
        "initial_lowpass_angst": content.get("initial_lowpass_angst", 40),
        "truth": {"particles": "truth.star", "map": "true_map.mrc", "mask": "mask.mrc"},
    }
    if "classes" in summary["derived"]:
        settings["classes"] = "true_classes.star"
        settings["focus_mask"] = "focus_mask.mrc" if (target / name / "focus_mask.mrc").exists() else None
    if "bodies" in summary["derived"]:
        settings["bodies"] = "bodies.star"
    if "filaments" in content:
        helix = {key: content["filaments"][key] for key in ("rise_angst", "twist_deg")}
        settings["helix"] = helix | {"tube_diameter_angst": summary["derived"]["tube_diameter_angst"]}
        settings["symmetry"] = f"C{content['filaments'].get('fold', 1)}"
    (target / name / "set.json").write_text(json.dumps(settings, indent=1) + "\n")
    return target / name


def fewer_filaments(filaments: dict[str, Any], segments: int) -> dict[str, int]:
    """Filaments that make so many segments or a few more, as many of a hundred reversed as before."""
    count = math.ceil(segments / filaments["segments"])
    return {"count": count, "reversed": round(filaments["reversed"] * count / filaments["count"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(SETS)}")
    parser.add_argument("--snr", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--particles", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    changes = {"noise.snr": chosen.snr, "imaging.n_particles": chosen.particles}
    for name in chosen.names or SETS:
        given = {k: v for k, v in changes.items() if v is not None}
        made = make_set(name, chosen.target, chosen.models, given, chosen.seed)
        print(made, (made / "set.json").read_text())


if __name__ == "__main__":
    main()
