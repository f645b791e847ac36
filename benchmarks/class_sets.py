"""Make 40 small sets, half of them mixtures, that no choice in classification has seen, for `verify_classes.py`.

    python benchmarks/class_sets.py TARGET MODELS [NUMBER ...]

TARGET is a folder outside the repository; MODELS holds wwPDB entries as `1abc.cif.gz`. Odd sets have one state. Even
sets have two or three: a part of the molecule (a chain, or an end of the largest one) is missing, turned by 10 to 25
degrees where it touches the rest, or either; one in five has junk of one kind. Molecule, part, axis, angle, shares
(50:50 to 85:15, or a third each, or 50:30:20), images (600 to 1,000 of 48 px), signal (SNR 0.03 to 0.3, even in its
logarithm) and views (preferred in a quarter of the sets) are drawn by the number of the set: nothing is chosen by what
a classification found. No molecule is in `mixtures.py` or in the training of a shipped network.

`set.json` says how well the true maps, with the true shares and noise, tell the images of the states apart: the
oracle's adjusted Rand index. Mixtures from 0.3 on count as decidable.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import mrcfile
import numpy as np
import torch
from make_sets import SETS, make_set
from scipy.spatial import cKDTree

from blush.classes.given_poses import ClassSettings, expectation_of, model_of
from blush.expectation.initial_noise import initial_noise
from blush.io.particles import read_particles
from blush.maximization.noise import update_noise
from blush.validate.partitions import adjusted_rand, contingency

MOLECULES = [
    "4v4r_30s.cif.gz", "2btv.cif.gz", "8uv2.cif.gz", "6rn2.cif.gz", "3izx.cif.gz", "1y1v.cif.gz", "9nhz.cif.gz",
    "4yvs.cif.gz", "4v4f.cif.gz", "6xlu.cif.gz", "6mmm.cif.gz", "8eow.cif.gz", "4jsv.cif.gz", "3nig.cif.gz",
    "5fuu.cif.gz", "6wg6.cif.gz", "1qvr.cif.gz", "7cth.cif.gz", "1u6g.cif.gz", "4gxu.cif.gz", "4fqi.cif.gz",
    "4zxb.cif.gz", "4upy.cif.gz", "6bqn.cif.gz", "2hmi.cif.gz", "3sn6.cif.gz", "1lnl.cif.gz", "1bgx.cif.gz",
    "rp10.cif.gz", "8wg7.cif.gz", "7cfn.cif.gz", "1zm4.cif.gz", "9chx.cif.gz", "4lw4.cif.gz", "1i9r.cif.gz",
    "1ncb.cif.gz", "9jmb.cif.gz", "3hmx.cif.gz", "3bep.cif.gz", "3hfm.cif.gz",
]  # fmt: skip
SEED, BOX_PX = 1313, 48
KINDS = ("missing", "turned", "missing_junk", "angles", "missing_or_turned")
JUNK = ("noise", "broken", "off_centre", "blobs")
PART = (0.06, 0.45)
"""Share of the atoms that a part has, at least and at most."""
CONTACTS = 10
"""Residues of a part next to the rest, whose middle is the hinge."""


class Molecule:
    """Atoms of a model by chain and residue."""

    def __init__(self, path: Path) -> None:
        sites = [
            (chain.name, residue.seqid.num, *atom.pos.tolist())
            for chain in gemmi.read_structure(str(path))[0]
            for residue in chain
            for atom in residue
        ]
        self.chain = np.array([site[0] for site in sites])
        self.residue = np.array([site[1] for site in sites])
        self.place = np.array([site[2:] for site in sites])

    @property
    def pixel_size_angst(self) -> float:
        """Pixel at which the box is 1.35 times as wide as the molecule."""
        radius = np.linalg.norm(self.place - self.place.mean(0), axis=1).max()
        return round(float(2 * radius * 1.35 / BOX_PX), 1)

    def part(self, rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        """What selects a part, and the residues where it touches the rest."""
        names, counts = np.unique(self.chain, return_counts=True)
        share = counts / len(self.chain)
        fits = [str(n) for n, s in zip(names, share, strict=True) if n and PART[0] <= s <= PART[1]]
        if fits:
            name = str(rng.choice(fits))
            inside, select = self.chain == name, {"chains": [name]}
        else:
            name = str(names[counts.argmax()])
            own = np.unique(self.residue[self.chain == name])
            first = own[int(len(own) * (1 - rng.uniform(0.15, 0.35)))]
            inside = (self.chain == name) & (self.residue >= first)
            select = {"chains": [name], "residues": [[int(first), int(own[-1])]]}
        distance, _ = cKDTree(self.place[~inside]).query(self.place[inside])
        near = list(dict.fromkeys(self.residue[inside][distance.argsort()].tolist()))[:CONTACTS]
        return select, {"chains": [name], "residues": [[n, n] for n in sorted(near)]}


def states(kind: str, molecule: Molecule, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Species of a mixture."""
    select, contact = molecule.part(rng)
    axis, angle = rng.normal(size=3), float(rng.uniform(10, 25))
    turned = {"change": "rotate", "select": select, "axis": axis.round(3).tolist(), "through": contact}
    missing, major = {"change": "remove", "select": select}, round(float(rng.uniform(0.5, 0.85)), 2)
    if kind == "angles":
        return [{"name": "angle", "fraction": 1, "changes": [turned | {"angle_deg": [-angle, 0, angle]}]}]
    turned |= {"angle_deg": angle}
    if kind == "missing_or_turned":
        shares, changes = rng.permutation([0.5, 0.3, 0.2]).tolist(), [[], [missing], [turned]]
    else:
        shares = rng.permutation([major, round(1 - major, 2)]).tolist()
        changes = [[], [turned if kind == "turned" else missing]]
    named = zip(("whole", "changed", "turned"), shares, changes, strict=False)
    return [{"name": name, "fraction": share, "changes": change} for name, share, change in named]


def content_of(number: int, models: Path) -> dict[str, Any]:
    """What to simulate for a set, from 1."""
    name = np.random.default_rng(SEED).permutation(MOLECULES)[number - 1]
    rng, molecule = np.random.default_rng([SEED, number]), Molecule(models / name)
    content: dict[str, Any] = {
        "specimen": {"model": str(name)},
        "imaging": {
            "n_particles": int(rng.integers(600, 1001)),
            "box_px": BOX_PX,
            "pixel_size_angst": molecule.pixel_size_angst,
            "envelope_bfactor_angst2": 100,
        },
        "noise": {"snr": round(float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))), 3)},
        "species": [{"name": "whole", "fraction": 1}],
    }
    if rng.random() < 0.25:
        content["views"] = {"preferred_axes": [rng.normal(size=3).round(2).tolist()], "concentration": 5}
    if number % 2 == 0:
        kind = KINDS[number // 2 % len(KINDS)]
        content["species"] = states(kind, molecule, rng)
        if kind == "missing_junk":
            content["junk"] = {JUNK[number // 10 % len(JUNK)]: round(float(rng.uniform(0.1, 0.2)), 2)}
    return content


def oracle(folder: Path) -> float:
    """Adjusted Rand index of the states with labels by the true maps at the true shares and poses."""
    given = json.loads((folder / "set.json").read_text())
    particles, blocks = read_particles(folder / "truth.star")
    truth = np.asarray(blocks["particles"]["rlnClassNumber"], dtype=np.int64) - 1
    files = sorted(folder.glob("true_map_class*.mrc"))
    rows = np.flatnonzero(truth < len(files))
    particles, truth = particles.take(rows), truth[rows]
    maps = [torch.from_numpy(mrcfile.read(path).astype(np.float32)) for path in files]
    settings = ClassSettings(len(maps), given["particle_diameter_angst"])
    noise = initial_noise(particles, settings.particle_diameter_angst, settings.seed)
    share = np.bincount(truth) / len(truth)
    for _ in range(3):
        model = model_of(particles, maps, noise, BOX_PX // 2, settings)
        pairs = zip(model.component.references, np.log(share * len(share)).tolist(), strict=True)
        references = tuple(replace(one, log_prior=value) for one, value in pairs)
        model = replace(model, component=replace(model.component, references=references))
        found = expectation_of(model, particles, settings).run(particles, lambda done: None)
        noise = torch.from_numpy(update_noise(found.noise.numpy(), found.weight.numpy(), noise.numpy()))
    labels = found.table["shares"].numpy().argmax(1)
    return float(adjusted_rand(contingency(labels, truth, len(maps), len(maps))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("numbers", nargs="*", type=int, help="default: 1 to 40")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for number in chosen.numbers or range(1, len(MOLECULES) + 1):
        name = f"set{number:02d}"
        SETS[name] = content_of(number, chosen.models)
        folder = make_set(name, chosen.target, chosen.models, {})
        if number % 2 == 0:
            given = json.loads((folder / "set.json").read_text()) | {"oracle_adjusted_rand": oracle(folder)}
            (folder / "set.json").write_text(json.dumps(given, indent=1) + "\n")
        print(folder, (folder / "set.json").read_text(), flush=True)


if __name__ == "__main__":
    main()
