"""Folders in which the commands of a page find the files that they name, made of tiny simulations."""

import gzip
import pickle
import shutil
from pathlib import Path

import gemmi
import numpy as np
import torch
import yaml
from page_commands import ROOT, configurations, run, text_of, tiny_configurations

from blush.denoise.unet import UNet3d
from blush.io.mrc import write_stack, write_volume

SHORT = {"refinement": {"max_iterations": 2}, "compute": {"device": "cpu", "memory_gb": 2}}


def classified(folder: Path) -> None:
    """Two divisions of a mixture at its true poses, of which one lies where RELION's would."""
    tiny_configurations(folder)
    run("blush simulate config/simulate_mixture.yaml", folder)
    made = folder / "results/mixture_particles"
    (folder / "refined").mkdir()
    shutil.copy(made / "truth.star", folder / "refined/run_data.star")
    shutil.copytree(made / "stacks", folder / "refined/stacks")
    shutil.copy(made / "true_map.mrc", folder / "refined/run_class001.mrc")
    shutil.copy(made / "mask.mrc", folder / "mask.mrc")
    shutil.copy(made / "truth.star", folder / "some_data.star")
    shutil.copytree(made / "stacks", folder / "stacks")
    configurations(text_of("docs/classification.md"), folder, symmetry="D4", particle_diameter_angst=150, **SHORT)
    run("blush classify two-states.yaml", folder)
    made = folder / "results/two-states"
    *_, last = sorted(path.name.removesuffix("_data.star") for path in made.glob("run_it*_data.star"))
    for job in ("031", "032"):
        (folder / f"Class3D/job{job}").mkdir(parents=True)
        for table in made.glob(f"{last}_*.star"):
            text = table.read_text().replace(last, "run_it025").replace("results/two-states", f"Class3D/job{job}")
            (folder / f"Class3D/job{job}" / table.name.replace(last, "run_it025")).write_text(text)


def filaments(folder: Path) -> None:
    """The filaments of the page, fewer and shorter; averages, a model and halves for its other commands."""
    (folder / "config").mkdir()
    content = yaml.safe_load((ROOT / "config/simulate_filaments.yaml").read_text())
    content["filaments"] |= {"count": 6, "segments": 4, "reversed": 2}
    content["imaging"] = {"box_px": 32, "pixel_size_angst": 6}
    (folder / "config/simulate_filaments.yaml").write_text(yaml.safe_dump(content))
    refinement = yaml.safe_load((ROOT / "config/filaments.yaml").read_text())
    (folder / "config/filaments.yaml").write_text(yaml.safe_dump(refinement | SHORT))
    (folder / "my.yaml").write_text((folder / "config/filaments.yaml").read_text().replace("../results", "results"))
    axis = torch.arange(96) - 48
    stripes = torch.exp(-(((axis[:, None] - 8 * torch.sin(axis / 9)) / 4) ** 2)).numpy().astype(np.float32)
    write_stack(folder / "classes.mrcs", np.stack([np.roll(stripes, 11 * k, 1) for k in range(4)]), 2.0)
    model_of(folder / "rung.cif", {"A": 12})
    for number in (1, 2):
        noise = torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(number))
        write_volume(folder / f"half{number}.mrc", (screw(64, 2.0) + 0.02 * noise).numpy(), 2.0)


def amyloids(folder: Path) -> None:
    """The configurations of the tutorial, with fewer and shorter filaments."""
    (folder / "config").mkdir()
    content = yaml.safe_load((ROOT / "config/simulate_amyloid.yaml").read_text())
    content["filaments"] |= {"count": 4, "segments": 3, "reversed": 2}
    (folder / "config/simulate_amyloid.yaml").write_text(yaml.safe_dump(content))
    for name in ("amyloid", "amyloid_c2"):
        refinement = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
        (folder / f"config/{name}.yaml").write_text(
            yaml.safe_dump(refinement | {"sampling": {"healpix_order": 1}} | SHORT)
        )


def screw(box: int, pixel: float) -> torch.Tensor:
    """Blobs 30 Å from the axis, every 4.75 Å and -1.2 degrees."""
    axis, out = (torch.arange(box) - box // 2) * pixel, torch.zeros(box, box, box)
    for unit in range(-15, 16):
        q = np.deg2rad(-1.2 * unit)
        for radius in (30, -18):
            z, y, x = (torch.exp(-((axis - c) ** 2) / 4) for c in (4.75 * unit, radius * np.sin(q), radius * np.cos(q)))
            out += z[:, None, None] * y[:, None] * x
    return out


def model_of(path: Path, chains: dict[str, int], origin: float = 0.0) -> None:
    """A model of coiled chains, so many residues each, one beside the other."""
    structure, model = gemmi.Structure(), gemmi.Model(1)
    for number, (name, residues) in enumerate(chains.items()):
        chain = gemmi.Chain(name)
        for at in range(residues):
            residue, atom = gemmi.Residue(), gemmi.Atom()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(at + 1, " ")
            turn = at * 1.7
            place = (30 * number - 30 + 8 * np.cos(turn), 8 * np.sin(turn), 40 * (at / residues - 0.5))
            atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(*(c + origin for c in place))
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    structure.make_mmcif_document().write_file(str(path))


def bundle(folder: Path) -> None:
    """Weights as they are published: tensors beside a source that is not run."""
    content = {
        "model_state_dict": UNet3d(2, 2).state_dict(),
        "model_definition": "raise SystemExit",
        "block_size": 64,
        "voxel_size": 1.5,
    }
    (folder / "BUNDLE").write_bytes(gzip.compress(pickle.dumps(content)))


def more_filaments(folder: Path) -> None:
    """Two more runs by name, and a table of segments, for what follows the refinement of the page."""
    for name in ("one_start", "screw"):
        shutil.copytree(
            folder / "results/filaments", folder / f"results/{name}", ignore=shutil.ignore_patterns(".pool")
        )
    made = folder / "results/filament_particles"
    shutil.copy(made / "particles.star", folder / "segments.star")
    shutil.copytree(made / "stacks", folder / "stacks")


def training(folder: Path) -> None:
    """What a clone holds for the workflow, with a training of fewer steps."""
    (folder / "config").mkdir()
    for name in ("Snakefile", "local", "workflow", "profiles", "scripts", "config/training"):
        (folder / name).symlink_to(ROOT / name)
    content = yaml.safe_load((ROOT / "config/train_tiny.yaml").read_text())
    content["fit"]["steps"] = 6
    content["evaluate"]["bootstrap"] = 50
    (folder / "config/train_tiny.yaml").write_text(yaml.safe_dump(content))
