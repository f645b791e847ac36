"""Weights as they are shipped: safetensors with card and hash, a model card to read, a manifest to repeat them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import blush
from blush.config.training import TrainingConfig
from blush.denoise.card import Card
from blush.denoise.local_wiener import BANDS, FEATURES, GainNet, scaled
from blush.denoise.unet import UNet3d, denoise_patches
from blush.denoise.weights import build, fill, load_weights, save_weights
from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, read_record, write_json
from blush.io.tsv import read_numbers
from blush.training.checkpoint import LOSSES, machines
from blush.training.eval_maps import NETWORK
from blush.training.store import Store, open_store

LARGEST_SHARD_BYTES = 14_000_000
PUBLISHED_PATCHES = 950_000 * 16
"""Passes of the published training: 950,000 steps of 8 pairs, both halves (Kimanius et al. 2024)."""
LARGEST_ROUNDING = 1e-3
EVALUATE_AGAIN = "remove it, and the same command evaluates the weights again"
PACKAGES = ("torch", "numpy", "scipy", "safetensors")


def export(config: TrainingConfig, fit: Path, store_folder: Path, evaluation: Path | None, out: Path) -> Path:
    """Write `NAME.safetensors`, `MODEL_CARD.md` and `manifest.json` of a finished training.

    Parameters
    ----------
    fit
        Folder of the training's weights and losses.
    evaluation
        File of its evaluation; None: none was made, which the card says.

    Returns
    -------
    The file of weights to load, an index where they are in several files.

    Raises
    ------
    BlushError
        Where half precision was asked for and changes the network's results.
    """
    loaded = load_weights(fit / "weights.safetensors")
    tensors = dict(loaded.network.state_dict())
    if config.export_half:
        tensors = _halved(loaded.network, loaded.card, tensors)
    card = replace(loaded.card, licence=config.licence)
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    shard = LARGEST_SHARD_BYTES if size > LARGEST_SHARD_BYTES else None
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{config.name}.safetensors"
    sha256 = save_weights(path, tensors, card, largest_shard_bytes=shard)
    manifest = _manifest(config, store_folder, fit, sha256)
    write_json(out / "manifest.json", manifest)
    figures = read_record(evaluation, EVALUATE_AGAIN, ("methods", "verdicts")) if evaluation is not None else None
    with atomic_write(out / "MODEL_CARD.md") as beside:
        beside.write_text(model_card(config, open_store(store_folder), manifest, figures), encoding="utf-8")
    return path if shard is None else path.with_name(path.name + ".index.json")


def _halved(network: nn.Module, card: Card, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision, where the network's results stay the same to 1e-3."""
    made = {name: tensor.half() for name, tensor in tensors.items()}
    twin = build(card)
    change = math.inf
    if not fill(twin, made):  # which refuses weights beyond the range of half precision: they are infinite
        with torch.no_grad():
            before, after = _result(network), _result(twin)
        change = float((after - before).norm() / before.norm())
    if change > LARGEST_ROUNDING:
        remedy = "set export_half: false"
        problem = Problem(
            f"changes results by {change:.1e}, more than {LARGEST_ROUNDING:g}", remedy, where="export_half"
        )
        raise BlushError("the weights cannot be stored in half precision", [problem])
    return made


def _result(network: nn.Module) -> Tensor:
    """What a network makes of random input, always the same, of the least size that it takes."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(network, GainNet):
        features = torch.randn(2, FEATURES, 16, 16, 16, generator=generator)
        return torch.cat([part.flatten() for part in scaled(network, features, torch.full((2, BANDS), 0.5))])
    side = max(32, 2 * network.divisor_px) if isinstance(network, UNet3d) else 32
    patches = torch.randn(2, 2, side, side, side, generator=generator).abs()
    return denoise_patches(network, patches)[0] if isinstance(network, UNet3d) else network(patches[:, :1])


def _manifest(config: TrainingConfig, store_folder: Path, fit: Path, sha256: str) -> dict[str, Any]:
    """Everything a repetition needs: configuration, maps by their hashes, versions."""
    store = open_store(store_folder)
    content = config.model_dump(mode="json", exclude={"output"})
    for keys in (("sources", "simulated", "models"), ("sources", "folder", "pairs"), ("fit", "start")):
        _named(content, keys)
    losses = read_numbers(fit / LOSSES, "cannot export the weights", "train again", ("step", "batch", "seconds"), ())
    patches = float((np.diff(losses["step"], prepend=0) * losses["batch"]).sum())
    return {
        "weights_sha256": sha256,
        "configuration": content,
        "start_sha256": load_weights(config.fit.start).sha256 if config.fit.start else None,
        "voxel_size_angst": store.voxel_size_angst,
        "entries": [asdict(entry) for entry in store.entries],
        "entries_sha256": hashlib.sha256((store_folder / "index.json").read_bytes()).hexdigest(),
        "steps": int(losses["step"][-1]),
        "patches": int(patches),
        "hours": round(float(losses["seconds"][-1]) / 3600, 3),
        "versions": {"blush": blush.__version__} | {name: importlib.metadata.version(name) for name in PACKAGES},
        "machines": machines(fit),
    }


def _named(content: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Keep the name of a file, not its folder."""
    section: Any = content
    for key in keys[:-1]:
        section = section[key]
    if section[keys[-1]]:
        section[keys[-1]] = Path(section[keys[-1]]).name


def _recipe(config: TrainingConfig, manifest: dict[str, Any]) -> list[str]:
    """How the weights were trained."""
    network, fit = config.network, config.fit
    both = network.arch == "localwiener" or network.input == "whitened"
    unit = "pairs of patches of both halves" if both else "patches"
    recursion = f"recursion {list(fit.recursion)} from {fit.recursion_from:.0%} on; "
    stages = ", ".join(f"{s.share:.0%} of the steps with {s.batch} of {s.block_px} px" for s in fit.stages)
    share = manifest["patches"] * (2 if both else 1) / PUBLISHED_PATCHES
    return [
        f"{manifest['steps']:,} steps, {manifest['patches']:,} {unit} ({stages}), {manifest['hours']:.2f} h"
        f" ({'; '.join(manifest['machines']) or 'machine not recorded'}). The published Blush network saw 15.2 million "
        f"patches; this is {share:.2%} of that.",
        f"AdamW, learning rate {fit.learning_rate:g} to {fit.last_learning_rate:g}, averaged over {fit.ema:g}; "
        + (recursion if network.arch == "blush" and not both else "")
        + f"seed {config.seed}."
        + (f" It started from the weights `{manifest['start_sha256'][:16]}…`." if manifest["start_sha256"] else ""),
    ]


def model_card(config: TrainingConfig, store: Store, manifest: dict[str, Any], figures: dict[str, Any] | None) -> str:
    """What the weights are, in words for whoever wants to use them."""
    network = config.network
    kinds = {split: store.select(split) for split in ("train", "test")}
    shapes = {
        "blush": f"U-net of Blush, width {network.width}, depth {network.depth}, input: {network.input}",
        "cref": "crefDenoiser",
        "localwiener": f"local gains of a Wiener filter, width {network.width}",
    }
    lines = [
        f"# {config.name}",
        "",
        f"Denoiser of half-maps ({shapes[network.arch]}), for maps of {network.voxel_size_angst:g} Å per voxel.",
        f"SHA-256 of the numbers: `{manifest['weights_sha256']}`. Licence: {config.licence}.",
        "",
        "## Data",
        "",
        f"{len(kinds['train'])} maps of {len({e.group for e in kinds['train']})} groups of similar structures to train "
        f"on; {len(kinds['test'])} of {len({e.group for e in kinds['test']})} groups held out. By source: "
        + ", ".join(
            f"{sum(e.source == s for e in store.entries)} {s}" for s in sorted({e.source for e in store.entries})
        )
        + f". SHA-256 of their list: `{manifest['entries_sha256']}`; `manifest.json` has every entry.",
        "",
        "## Recipe",
        "",
        *_recipe(config, manifest),
        "",
        "## What it does, on structures it was not trained on",
        "",
        *_findings(figures),
        "",
        "## Limits",
        "",
        f"Nothing is learned beyond {2 * network.voxel_size_angst:g} Å: there the driver goes over to the Wiener map. "
        "Denoised maps are references to align to; the reported maps and resolutions never come from them. "
        "What the table above says FAILED is a reason not to interpret the denoised map itself.",
        "",
        "## Again",
        "",
        f"The configuration is in `manifest.json`; as the file config/train_{config.name}.yaml it trains the same:",
        "",
        "```bash",
        f"snakemake train --profile local --configfile config/train_{config.name}.yaml",
        "```",
        "",
        "The same versions on the same kind of processor give the same bytes; others give the same within the spread "
        "that the evaluation states.",
        "",
    ]
    return "\n".join(lines)


def _findings(figures: dict[str, Any] | None) -> list[str]:
    if figures is None:
        return ["Not evaluated."]
    rivals = [name for name in figures["methods"] if name != NETWORK]
    lines = [f"| | figure | limit | {' | '.join(rivals)} |", "|---" * (3 + len(rivals)) + "|"]
    for verdict in figures["verdicts"]:
        limit = verdict["limit"]
        text = f"{limit[0]:g} to {limit[1]:g}" if isinstance(limit, list) else f"{limit:g}"
        figure, *others = (
            "–" if value is None else f"{value:.3f}"
            for value in (verdict["figure"], *(verdict["rivals"].get(name) for name in rivals))
        )
        state = "" if verdict["passed"] else "**FAILED** "
        lines.append(f"| {state}{verdict['what']} | {figure} | {text} | {' | '.join(others)} |")
    return lines
