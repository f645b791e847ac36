"""`blush import-weights`: published weights into ours, without executing anything that they contain."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import-weights")(import_weights)


def import_weights(
    bundle: Annotated[Path, typer.Argument(help="Published Blush bundle, or crefDenoiser's tensors (.safetensors).")],
    out: Annotated[Path, typer.Argument(help="File to write (.safetensors).")],
) -> None:
    """Convert published weights for regulariser.blush.weights or regulariser.cref.weights; only tensors are read."""
    if out.suffix != ".safetensors":
        remedy = "end its name in .safetensors"
        raise BlushError("cannot import these weights", [Problem("is no name for weights", remedy, file=str(out))])
    from blush.denoise.card import ANY_VOXEL_SIZE
    from blush.denoise.published import import_weights as convert
    from blush.denoise.weights import load_weights, save_weights

    tensors, card = convert(bundle)
    save_weights(out, tensors, card)
    made = load_weights(out)
    voxel = ANY_VOXEL_SIZE if card.voxel_size_angst is None else f"{card.voxel_size_angst:g} Å"
    tell(f"network: {card.arch}, width {card.width}, depth {card.depth}")
    tell(f"parameters: {made.n_parameters:,} in {len(tensors)} tensors")
    tell(f"voxel size: {voxel}")
    if card.block_px:
        tell(f"patches: {card.block_px} px")
    if card.licence:
        tell(f"licence: {card.licence}")
    tell(f"sha256: {made.sha256}")
    tell(f"written: {out}")
