"""Readers of STAR files: tables of any kind, particles of three dialects, detectors, calls of external programs."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.lib.recfunctions
import torch

from blush.fourier.backproject import empty_accumulator
from blush.io.check import check_particles
from blush.io.cs_write import cs_rows, write_cs
from blush.io.mrc import write_stack
from blush.io.optics import read_mtf
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import read_star, write_star
from blush.jobs.relion_job import read_job
from blush.regularise.protocol import Name, call_root, read_call, read_returned, read_sums, write_call
from fuzzing.mutate import BYTES, LINES
from fuzzing.reader import Reader, finite

BOX_PX, PIXEL_ANGST = 8, 3.0
_CHANGES = (*LINES, *BYTES)


def text(*values: str) -> np.ndarray:
    """A text column."""
    return np.array(values, dtype=object)


def written(folder: Path, blocks: Mapping[str, Mapping[str, Any]], comment: str | None = None) -> bytes:
    """What `write_star` makes of blocks."""
    path = folder / "written.star"
    write_star(path, blocks, comment)
    return path.read_bytes()


def optics(*, tomography: bool = False) -> dict[str, Any]:
    """Two optics groups, with aberrations and a detector."""
    columns: dict[str, Any] = {
        "rlnOpticsGroup": np.array([1, 2]),
        "rlnOpticsGroupName": text("first", "second group"),
        "rlnVoltage": np.array([300.0, 200.0]),
        "rlnSphericalAberration": np.array([2.7, 1.4]),
        "rlnAmplitudeContrast": np.array([0.1, 0.07]),
        "rlnImagePixelSize": np.full(2, PIXEL_ANGST),
        "rlnImageSize": np.full(2, BOX_PX),
        "rlnImageDimensionality": np.full(2, 3 if tomography else 2),
        "rlnBeamTiltX": np.array([0.1, 0.0]),
        "rlnBeamTiltY": np.array([-0.2, 0.0]),
        "rlnOddZernike": text("[0,0.1,0]", "[]"),
        "rlnEvenZernike": text("[0,0,0,0.02]", "[]"),
        "rlnMtfFileName": text("mtf.star", "None"),
        "rlnMicrographOriginalPixelSize": np.full(2, 1.5),
    }
    return columns


def particles(n: int = 6) -> dict[str, Any]:
    """Particles of two stacks with poses and halves."""
    rows = np.arange(n)
    return {
        "rlnImageName": text(*(f"{1 + i // 2:06d}@{('m', 'n')[i % 2]}.mrcs" for i in rows)),
        "rlnMicrographName": text(*(f"mic {i % 3}.mrc" for i in rows)),
        "rlnOpticsGroup": 1 + rows % 2,
        "rlnDefocusU": 10_000.0 + 100 * rows,
        "rlnDefocusV": 9_900.0 + 100 * rows,
        "rlnDefocusAngle": 12.5 * rows,
        "rlnRandomSubset": 1 + rows % 2,
        "rlnAngleRot": 20.0 * rows,
        "rlnAngleTilt": 5.0 * rows,
        "rlnAnglePsi": -7.0 * rows,
        "rlnOriginXAngst": 0.5 * rows,
        "rlnOriginYAngst": -0.25 * rows,
        "rlnGroupName": text(*(f"g{i % 2}" for i in rows)),
        "rlnPhaseShift": np.zeros(n),
    }


def old_particles(n: int = 6) -> dict[str, Any]:
    """The same as RELION before 3.1 writes it: optics in every row, origins in pixels."""
    kept = {name: column for name, column in particles(n).items() if "Angst" not in name and "Optics" not in name}
    return kept | {
        "rlnVoltage": np.full(n, 300.0),
        "rlnSphericalAberration": np.full(n, 2.7),
        "rlnAmplitudeContrast": np.full(n, 0.1),
        "rlnMagnification": np.full(n, 10_000.0),
        "rlnDetectorPixelSize": np.full(n, 3.0),
        "rlnOriginX": np.zeros(n),
        "rlnOriginY": np.ones(n),
    }


def dialects(folder: Path) -> list[bytes]:
    """Particle tables of RELION 3.0, 3.1, and 4 and 5; of filaments, of few columns, and of sub-tomograms."""
    (folder / "mtf.star").write_bytes(detectors(folder)[0])
    new, few = {"optics": optics(), "particles": particles()}, particles(4)
    few = {name: few[name] for name in ("rlnImageName", "rlnOpticsGroup", "rlnDefocusU")}
    later = particles() | {"rlnTomoName": text(*["t"] * 6), "rlnHelicalTubeID": np.array([1, 1, 2, 2, 3, 3])}
    later |= {"rlnRandomSubset": np.array([1, 1, 2, 2, 1, 1]), "rlnCtfScalefactor": np.ones(6)}
    volumes = particles() | {"rlnImageName": text(*(f"{i}.mrc" for i in range(6)))}
    return [
        written(folder, new),
        written(folder, {"": old_particles()}),
        written(folder, {"optics": optics(), "particles": later}, "written by a test"),
        written(folder, {"optics": optics(), "particles": few}),
        written(folder, {"optics": optics(tomography=True), "particles": volumes}),
    ]


def project(folder: Path) -> list[bytes]:
    """Particle tables with their stacks and detector."""
    random = np.random.default_rng(5)
    for name in "mn":
        write_stack(folder / f"{name}.mrcs", random.standard_normal((4, BOX_PX, BOX_PX), np.float32), PIXEL_ANGST)
    return dialects(folder)


def detectors(folder: Path) -> list[bytes]:
    """A detector's transfer function."""
    frequency = np.linspace(0, 0.5, 11)
    columns = {"rlnResolutionInversePixel": frequency, "rlnMtfValue": 1 - frequency}
    return [written(folder, {"": columns}), written(folder, {"mtf": columns, "other": {"rlnVersion": 3}})]


def tables(folder: Path) -> list[bytes]:
    """Tables of every kind that is read or written, and texts that need quotes."""
    odd = {"rlnA": text("a b", "it's", 'say "x"'), "rlnB": text("", "#x", "_y"), "rlnC": text("007", "1_2", "data_x")}
    numbers = {"rlnD": np.array([0.1, 1e-9, -1e12]), "rlnE": np.array([1, 2**62, -5])}
    return [
        *dialects(folder),
        *detectors(folder),
        written(folder, {"a": odd, "b": numbers, "c": {"rlnF": 1, "rlnG": "two words", "rlnH": 0.5}}),
    ]


def _star(path: Path) -> None:
    """What is read can be written, and is the same when it is read again."""
    blocks = read_star(path)
    for table in blocks.values():
        assert len({len(column) for column in table.values()}) <= 1, "columns of different lengths"
        assert all(column.dtype.kind in "ifO" for column in table.values())
    again = path.with_name("again.star")
    write_star(again, {name: table for name, table in blocks.items() if table})
    found = read_star(again)
    assert list(found) == [name for name, table in blocks.items() if table], "other blocks"
    for name, table in found.items():
        assert list(table) == list(blocks[name]), "other columns"
        for key, column in table.items():
            _same(column, blocks[name][key])


def _same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert len(found) == len(wanted), "other rows"
    if not len(wanted):
        return
    assert found.dtype == wanted.dtype, f"{found.dtype} instead of {wanted.dtype}"
    if wanted.dtype.kind == "f":
        # six digits are written; what is smaller than the smallest such number may become 0
        assert np.allclose(found, wanted, rtol=1e-5, atol=1e-300, equal_nan=True), "other numbers"
    else:
        assert (found == wanted).all(), "other values"


def valid_particles(found: ParticleSet) -> None:
    """All columns are of one length, finite and within what they index."""
    arrays = {name: array for name, array in vars(found).items() if isinstance(array, np.ndarray)}
    assert {array.shape for array in arrays.values()} == {(len(found),)}, "columns of different lengths"
    assert finite(*arrays.values()), "values that are no numbers"
    assert set(np.unique(found.half)) <= {0, 1, 2}
    assert len(found) == 0 or found.image_index.min() >= 0
    assert (found.stack_index >= 0).all()
    assert (found.stack_index < len(found.stacks)).all()
    assert (found.optics_index >= 0).all()
    assert (found.optics_index < len(found.optics)).all()
    for group in found.optics:
        numbers = [value for value in vars(group).values() if isinstance(value, int | float)]
        vectors = (*group.odd_zernike, *group.even_zernike)
        assert finite(np.array([*numbers, *vectors], dtype=np.float64)), "optics that are no numbers"
        assert group.voltage_kv > 0
        assert group.pixel_size_angst > 0


def _checked_particles(path: Path) -> None:
    findings = check_particles(path)
    findings.refuse(str(path))
    assert findings.particles is not None, "neither a problem nor particles"
    valid_particles(findings.particles)
    assert findings.particles.images().shape == (len(findings.particles), BOX_PX, BOX_PX)


def cryosparc(folder: Path) -> list[bytes]:
    """Tables of cryoSPARC with their stacks: whole, without poses, and one that lacks what its passthrough file has."""
    (folder / "case.star").write_bytes(project(folder)[0])
    found, blocks = read_particles(folder / "case.star")
    (folder / "case.star").unlink()
    plain = dataclasses.replace(found, optics=tuple(dataclasses.replace(one, **_NO_TERMS) for one in found.optics))
    paths = [f">{Path(stack).name}" for stack in found.stacks]
    whole, bare = (
        cs_rows(dataclasses.replace(plain, has_poses=posed), blocks["particles"], paths) for posed in (True, False)
    )
    poses = [name for name in whole.dtype.names or () if name == "uid" or name.startswith("alignments3D")]
    contents = []
    for rows in (whole, bare, np.lib.recfunctions.repack_fields(whole[poses])):
        write_cs(folder / "case.cs", rows, "Particles")
        contents.append((folder / "case.cs").read_bytes())
    write_cs(folder / "J1_passthrough_particles.cs", bare, "Particles")
    (folder / "case.cs").unlink()
    return contents


def groups(folder: Path) -> list[bytes]:
    """Groups of results of cryoSPARC with the tables that they name: one, two beside the group, two of a project."""
    whole, bare, poses = cryosparc(folder)
    (folder / "J1_passthrough_particles.cs").unlink()
    project = folder / "J2"
    project.mkdir()
    for place in (folder, project):
        for name, content in (("whole", whole), ("bare", bare), ("poses", poses)):
            (place / f"{name}.cs").write_bytes(content)
    for stack in "mn":
        shutil.copyfile(folder / f"{stack}.mrcs", project / f"{stack}.mrcs")
    slots = [
        {"alignments3D": ">whole.cs", "blob": ">whole.cs", "ctf": ">whole.cs"},
        {"alignments3D": ">poses.cs", "blob": ">bare.cs", "ctf": ">bare.cs"},
        {"alignments3D": "J2/poses.cs", "blob": "J2/bare.cs", "ctf": "J2/bare.cs"},
    ]
    return [_group(one).encode() for one in slots]


def _group(slots: Mapping[str, str]) -> str:
    """The text of a group, line by line as cryoSPARC writes it."""
    lines = ["created: 2024-02-06 11:41:03.123456", "group:", "  description: All particles that were processed"]
    lines += ["  name: particles", "  title: All particles", "  type: particle", "results:"]
    for slot, table in slots.items():
        lines += [f"  {slot}:", f"    metafile: '{table}'", "    num_items: 6", f"    type: particle.{slot}"]
    return "\n".join([*lines, "version: v4.4.1", ""])


_NO_TERMS: dict[str, Any] = {
    "beam_tilt_x_mrad": 0.0, "beam_tilt_y_mrad": 0.0, "odd_zernike": (), "even_zernike": (), "mtf_file": None,
}  # fmt: skip


def _table_alone(path: Path) -> None:
    found, blocks = read_particles(path, find_stacks=False)
    valid_particles(found)
    assert len(next(iter(blocks["particles"].values()))) == len(found)


def _transfer_function(path: Path) -> None:
    frequency, value = read_mtf(path)
    assert frequency.shape == value.shape
    assert len(value) > 1
    assert finite(frequency, value)
    assert (np.diff(frequency) > 0).all()
    assert (value > 0).all()


def _call_of_a_program(folder: Path) -> list[bytes]:
    """What RELION hands to an external program, as we write it ourselves."""
    sums = empty_accumulator(BOX_PX, 3, dtype=torch.float32, pad=2)
    sums.grid.fill_(1)
    root = call_root("run", 5, 1)
    spectrum = np.linspace(1, 0.1, BOX_PX // 2 + 1)
    written_star = write_call(
        folder, root, sums, spectrum, spectrum, pixel_size_angst=PIXEL_ANGST, particle_diameter_angst=20.0
    )
    return [(folder / written_star).read_bytes()]


def _given_call(path: Path) -> None:
    call = read_call(Path(path.name), path.parent)
    assert finite(call.tau2, call.fsc)
    assert call.tau2.shape == call.fsc.shape == (call.box_px // 2 + 1,)
    assert np.isfinite(call.fudge)
    sums = read_sums(call)
    assert bool(torch.isfinite(sums.grid).all())


def _returned(folder: Path) -> list[bytes]:
    shells = np.arange(5)
    tau2 = {"rlnSpectralIndex": shells, "rlnReferenceTau2": np.linspace(1, 0, 5)}
    fsc = {"rlnSpectralIndex": shells, "rlnFourierShellCorrelation": np.linspace(1, 0, 5)}
    return [written(folder, {"external_reconstruct_tau2": table}) for table in (tau2, fsc)]


def _returned_spectra(path: Path) -> None:
    (values,) = read_returned(path, 5).values()
    assert len(values) == 5
    assert finite(np.array(values))


def _tables_of_a_job(folder: Path) -> list[bytes]:
    """The optimiser of a refinement by RELION, which names its model and sampling."""
    write_star(
        folder / "run_it004_sampling.star", {"sampling_general": {"rlnHealpixOrder": 2, "rlnSymmetryGroup": "D2"}}
    )
    write_star(folder / "run_it004_model.star", {"model_general": {"rlnPixelSize": PIXEL_ANGST}})
    general = {
        "rlnOrientSamplingStarFile": "Refine3D/job1/run_it004_sampling.star",
        "rlnModelStarFile": "Refine3D/job1/run_it004_model.star",
        "rlnSolventMaskName": "None",
        "rlnParticleDiameter": 150.0,
        "rlnAutoLocalSearchesHealpixOrder": 4,
        "rlnRandomSeed": 7,
    }
    return [written(folder, {"optimiser_general": general})]


def _job(path: Path) -> None:
    star = path.with_name(f"{call_root('run', 5, 1)}.star")
    silent = _SilentCall()
    job = read_job(star, Name.of(star), silent)  # type: ignore[arg-type]
    assert np.isfinite(job.pixel_size_angst)
    assert job.pixel_size_angst > 0
    assert np.isfinite(job.particle_diameter_angst)
    assert job.particle_diameter_angst > 0


class _SilentCall:
    """A call that says neither pixel size nor diameter, as those of RELION 3.1."""

    pixel_size_angst = None
    particle_diameter_angst = None


READERS = (
    Reader("star", "case.star", tables, _star, _CHANGES, 39, hostile=("starround", "particles")),
    Reader("particles", "case.star", project, _checked_particles, _CHANGES, 12, hostile=("particles",)),
    Reader("cryosparc", "case.cs", cryosparc, _checked_particles, BYTES, 12, hostile=("cryosparc",)),
    Reader(
        "cryosparc_group",
        "case.csg",
        groups,
        _checked_particles,
        _CHANGES,
        8,
        hostile=("csgroup",),
        names_file=False,
    ),
    Reader("particle_table", "case.star", dialects, _table_alone, _CHANGES, 19, hostile=("particles",)),
    Reader("mtf", "case.star", detectors, _transfer_function, _CHANGES, 40),
    Reader(
        "external_call",
        "case.star",
        _call_of_a_program,
        _given_call,
        _CHANGES,
        8,
        hostile=("extcall",),
        names_file=False,
    ),
    Reader("external_returned", "case.star", _returned, _returned_spectra, _CHANGES, 40, hostile=("extreturned",)),
    Reader("relion_job", "run_it004_optimiser.star", _tables_of_a_job, _job, _CHANGES, 25, names_file=False),
)
