"""Refine low-SNR filaments of held-out molecules with regularisers that differ in nothing else, and say which helps.

    python benchmarks/filaments_in_loop.py OUT MODELS [--names strand46 strand50 kinase] [--seeds 1 2]
        [--regularisers wiener blush] [--set regulariser.blush.own_mask=always --label _mask]

MODELS holds wwPDB entries as `1abc.cif.gz`. Sets are made in OUT/sets and runs in OUT/runs; a run that has its
summary is not run again. Sets named `strand..` are amyloids of a real peptide: eight residues of a beta strand of a
molecule that the shipped networks saw nothing of, its hydrogen bonds along the axis, two of them about a dyad. Their
rises are not the 4.75 Å that refinement starts from, so that the spacing of the rungs has to come out of images.
Differences to Wiener are paired by set and seed of the noise; the interval over pairs is Student's. Shells are those of
FSC = 1/2 of the joined map with the truth in the central 30 % of the tube (`filament_truth.py`).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import torch
import yaml
from filament_truth import compared
from in_loop import interval

from blush.config import RunConfig
from blush.jobs.autorefine import autorefine
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings

RESIDUES = 8
_BACKBONE = ("N", "CA", "C", "O")
_FINE = {"box_px": 64, "pixel_size_angst": 1.9, "defocus_min_angst": 6000, "defocus_max_angst": 16000}
_STRAND = {
    "unit": "specimen",
    "twist_deg": -2.4,
    "fold": 2,
    "radius_angst": 6,
    "count": 12,
    "segments": 10,
    "units_per_segment": 4,
    "reversed": 5,
    "curvature_deg_per_angst": 0.004,
    "tilt_deg": 2,
    "across_sd_angst": 2,
    "psi_error_deg": 1,
}
_KINASE = {
    "unit": "specimen",
    "rise_angst": 28,
    "twist_deg": 65,
    "radius_angst": 24,
    "count": 12,
    "segments": 8,
    "units_per_segment": 2,
    "reversed": 5,
}
SETS: dict[str, dict[str, Any]] = {
    # Strands of the Fab of 1K4C, rungs 4.6 and 5.0 Å apart
    "strand46": {"strand": "1k4c", "filaments": _STRAND | {"rise_angst": 4.6}, "imaging": _FINE, "snr": 0.12},
    "strand50": {"strand": "1k4c", "filaments": _STRAND | {"rise_angst": 5.0}, "imaging": _FINE, "snr": 0.12},
    # Adenylate kinase on a helix of 28 Å, with a third of the signal of `filament_protein`
    "kinase": {
        "specimen": {"model": "1ake.cif.gz", "chains": ["A"], "copies": "none"},
        "filaments": _KINASE,
        "imaging": {"box_px": 48, "pixel_size_angst": 4.0},
        "snr": 0.1,
    },
    # A chain of inorganic pyrophosphatase, of another fold, on another helix
    "phosphatase": {
        "specimen": {"model": "1e9g.cif.gz", "chains": ["A"], "copies": "none"},
        "filaments": _KINASE | {"radius_angst": 28, "rise_angst": 32, "twist_deg": -70},
        "imaging": {"box_px": 48, "pixel_size_angst": 4.0},
        "snr": 0.1,
    },
}


def straightest_strand(path: Path) -> list[gemmi.Residue]:
    """The eight residues in a row of a model whose ends lie farthest from each other, as in a beta strand."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_ligands_and_waters()
    structure.remove_hydrogens()
    best, found = 0.0, list[gemmi.Residue]()
    for chain in structure[0]:
        residues = [residue for residue in chain if all(residue.find_atom(name, "*") for name in _BACKBONE)]
        for begin in range(len(residues) - RESIDUES + 1):
            row = residues[begin : begin + RESIDUES]
            if row[-1].seqid.num - row[0].seqid.num != RESIDUES - 1:
                continue
            reach = row[0].find_atom("CA", "*").pos.dist(row[-1].find_atom("CA", "*").pos)
            if best < reach < 3.5 * (RESIDUES - 1):
                best, found = reach, row
    return found


def write_strand(source: Path, target: Path) -> None:
    """A strand with its run along x and its C=O bonds, which alternate, along z, as in the rung of an amyloid."""
    row = straightest_strand(source)
    place = {
        name: np.array([residue.find_atom(name, "*").pos.tolist() for residue in row]) for name in ("CA", "C", "O")
    }
    run = place["CA"][-1] - place["CA"][0]
    run /= np.linalg.norm(run)
    bonds = (place["O"] - place["C"]) * (-1.0) ** np.arange(RESIDUES)[:, None]
    along = bonds.sum(0)
    along -= run * (along @ run)
    along /= np.linalg.norm(along)
    frame = np.stack([run, np.cross(along, run), along])
    middle = place["CA"].mean(0)
    chain = gemmi.Chain("A")
    for residue in row:
        copy = residue.clone()
        for atom in copy:
            atom.pos = gemmi.Position(*(frame @ (np.array(atom.pos.tolist()) - middle)))
        chain.add_residue(copy)
    structure, model = gemmi.Structure(), gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    structure.write_pdb(str(target))


def made(name: str, seed: int, out: Path, models: Path, snr: float | None) -> Path:
    """The folder of a set, simulated where it is not there yet."""
    given = SETS[name]
    snr = given["snr"] if snr is None else snr
    folder = out / "sets" / f"{name}_snr{snr:g}_{seed}"
    if (folder / "simulation.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    content = {"filaments": given["filaments"], "imaging": given["imaging"], "noise": {"snr": snr}, "seed": seed}
    if "strand" in given:
        model = folder / "strand.pdb"
        write_strand(models / f"{given['strand']}.cif.gz", model)
        content |= {"specimen": {"model": str(model), "copies": "none"}, "initial_lowpass_angst": 8}
    else:
        content["specimen"] = given["specimen"] | {"model": str(models / given["specimen"]["model"])}
        content["initial_lowpass_angst"] = 30
    simulate(load_settings(None, content | {"output": str(folder)}))
    return folder


def configuration(name: str, folder: Path, out: Path, chosen: argparse.Namespace, regulariser: str) -> dict[str, Any]:
    """One run; strands begin with rungs of 4.75 Å."""
    known = json.loads((folder / "simulation.json").read_text())
    helix = known["settings"]["filaments"]
    content: dict[str, Any] = {
        "name": f"{folder.name}_{regulariser}{chosen.label}",
        "job": "helix",
        "particles": str(folder / "particles.star"),
        "reference": str(folder / "reference.mrc"),
        "particle_diameter_angst": known["derived"]["particle_diameter_angst"],
        "symmetry": f"C{helix['fold']}",
        "initial_lowpass_angst": known["settings"]["initial_lowpass_angst"],
        "helix": {
            "rise_angst": helix["rise_angst"],
            "twist_deg": helix["twist_deg"],
            "tube_diameter_angst": known["derived"]["tube_diameter_angst"],
            "central_fraction": 0.4,
        },
        "refinement": {"max_iterations": chosen.iterations},
        "regulariser": {"name": regulariser, "blush": {"stride_px": 32}},
        "truth": {"particles": str(folder / "truth.star"), "map": str(folder / "true_map.mrc")},
        "compute": {"device": "cpu"},
        "output": str(out / "runs"),
    }
    if name.startswith("strand"):
        content["helix"] |= {"rise_angst": 4.75, "rise_range_angst": [4.5, 5.1]}
    for key, value in (item.split("=", 1) for item in chosen.set):
        *sections, last = key.split(".")
        target = content
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = yaml.safe_load(value)
    return content


def refined(name: str, seed: int, regulariser: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """What a run came to, run where it is not there."""
    out = chosen.out.resolve()
    folder = made(name, seed, out, chosen.models.resolve(), chosen.snr)
    content = configuration(name, folder, out, chosen, regulariser)
    run = out / "runs" / content["name"]
    if not (run / "summary.json").exists():
        autorefine(RunConfig.model_validate(content))
    summary = json.loads((run / "summary.json").read_text())
    truth = compared(folder, run / "run_data.star", run / "run_class001.mrc")
    known = json.loads((folder / "simulation.json").read_text())["settings"]
    width = known["imaging"]["box_px"] * known["imaging"]["pixel_size_angst"]
    return {
        "true_angst": truth["resolution_angst"],
        "shell": width / truth["resolution_angst"],
        "reported_angst": summary["resolution_angst"],
        "rise_error_angst": summary["helix"]["rise_angst"] - known["filaments"]["rise_angst"],
        "poses": truth["poses"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--names", nargs="+", default=list(SETS))
    parser.add_argument("--regularisers", nargs="+", default=["wiener", "blush"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--snr", type=float, help="instead of that of the set")
    parser.add_argument("--iterations", type=int, default=12)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the configuration")
    parser.add_argument("--label", default="", help="added to the names of runs with changes")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    shells: dict[str, list[float]] = {}
    for seed in chosen.seeds:
        for name in chosen.names:
            first = None
            for regulariser in chosen.regularisers:
                found = refined(name, seed, regulariser, chosen)
                poses = {key: round(value, 2) for key, value in found["poses"].items()}
                print(f"{name} {seed} {regulariser}: true {found['true_angst']:.2f} Å, "
                      f"reported {found['reported_angst']:.2f} Å, rise {found['rise_error_angst']:+.4f} Å, {poses}",
                      flush=True)  # fmt: skip
                first = found if first is None else first
                if found is not first:
                    shells.setdefault(regulariser, []).append(found["shell"] - first["shell"])
    for regulariser, values in shells.items():
        each = ", ".join(f"{value:+.1f}" for value in values)
        print(f"{regulariser} over {chosen.regularisers[0]}: {interval(values)} shells of {len(values)} pairs ({each})")


if __name__ == "__main__":
    main()
