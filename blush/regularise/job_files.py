"""What known wrappers of external programs look for in a RELION job beside the call itself.

The SIDESPLITTER wrapper greps `job.star` for fn_mask, nr_threads and fn_bodies; deepEMhancer's script takes
rlnHealpixOrder from the previous `_sampling.star`, and the pixel size as ninth word of the line of `opticsGroup1` in
the previous `_data.star` (docs/external-programs.md). These tables say that and no more: they describe no particles.
"""

from __future__ import annotations

from pathlib import Path

from blush.io.mrc import write_volume
from blush.io.star import write_star
from blush.regularise.base import HalfMaps


def write_job_files(folder: Path, prefix: str, maps: HalfMaps) -> None:
    """Write the files of the job and of its previous iteration.

    Parameters
    ----------
    folder
        The project, where programs are started.
    prefix
        Output root of the job, relative to `folder`, as `Refine3D/job001/run`.
    """
    previous = f"{prefix}_it{maps.iteration - 1:03d}"
    job = Path(prefix).parent
    options = {"fn_mask": _mask(folder, job / "mask.mrc", maps), "nr_threads": "1", "fn_bodies": ""}
    joboptions = {"rlnJobOptionVariable": list(options), "rlnJobOptionValue": list(options.values())}
    write_star(
        folder / job / "job.star",
        {"job": {"rlnJobTypeLabel": "relion.refine3d", "rlnJobIsContinue": 0}, "joboptions_values": joboptions},
    )
    sampling = {"rlnHealpixOrder": maps.healpix_order, "rlnSymmetryGroup": maps.symmetry}
    write_star(folder / f"{previous}_sampling.star", {"sampling_general": sampling})
    write_star(folder / f"{previous}_data.star", {"optics": _optics(maps)})


def _mask(folder: Path, name: Path, maps: HalfMaps) -> str:
    """Name of the solvent mask, empty where there is none."""
    if maps.mask is None:
        return ""
    write_volume(folder / name, maps.mask.cpu().numpy(), maps.pixel_size_angst)
    return str(name)


def _optics(maps: HalfMaps) -> dict[str, list[object]]:
    """One optics group with the pixel size in the ninth column; a regulariser knows nothing of lenses."""
    return {
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [maps.pixel_size_angst],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImageSize": [maps.box_px],
        "rlnImageDimensionality": [2],
        "rlnImagePixelSize": [maps.pixel_size_angst],
    }
