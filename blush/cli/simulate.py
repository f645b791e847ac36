"""`blush simulate`: particles with known poses, from an atomic model."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML file, as config/simulate_demo.yaml, _mixture, _bodies or _filaments; none: the demo."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the particle set.")] = None,
    model: Annotated[Path | None, typer.Option(help="Atomic model, PDB or mmCIF, plain or .gz.")] = None,
    particles: Annotated[int | None, typer.Option(help="Number of images.")] = None,
    snr: Annotated[float | None, typer.Option(help="Variance of signal over that of noise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
) -> None:
    """Simulate a particle set with its truth: stacks, STAR files, true maps, masks.

    Its images show one particle, a mixture, a molecule in bodies that move, or segments of filaments.
    """
    from blush.simulate.settings import load_settings

    given = {"output": out, "seed": seed, "specimen.model": model, "imaging.n_particles": particles, "noise.snr": snr}
    settings = load_settings(config, _nested({key: value for key, value in given.items() if value is not None}))

    from blush.simulate.particle_set import simulate as run

    star = run(settings, _show if sys.stderr.isatty() else lambda stage, done, total: None)
    images = settings.imaging.n_particles if settings.filaments is None else settings.filaments.images
    tell(f"{images} particles: {star}")
    if settings.is_mixture:
        from blush.io.files import read_json

        classes = read_json(star.parent / "simulation.json")["derived"]["classes"]
        tell(", ".join(f"{one['name']} {one['count']}" for one in classes))


def _nested(values: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as nested sections."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        target = result
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    return result


def _show(stage: str, done: int, total: int) -> None:
    """One line that overwrites itself on a terminal."""
    sys.stderr.write(f"\r{stage} {done}/{total} " + ("\n" if done == total else ""))
    sys.stderr.flush()
