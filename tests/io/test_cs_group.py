"""Groups of results of cryoSPARC: which table holds which slot, read as the tables by themselves are."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from blush.errors import BlushError
from blush.io.check import check_particles
from blush.io.cs_fields import AS_IT_IS, table_files
from blush.io.mrc import write_stack
from blush.io.particles import read_particles

N, BOX = 4, 16


def saved(path: Path, **fields: object) -> Path:
    columns = {"uid": np.arange(10, 10 + N, dtype=np.uint64)} | {
        name.replace("__", "/"): np.asarray(values) for name, values in fields.items()
    }
    rows = np.zeros(len(columns["uid"]), [(name, one.dtype, one.shape[1:]) for name, one in columns.items()])
    for name, one in columns.items():
        rows[name] = one
    with path.open("wb") as stream:
        np.save(stream, rows)
    return path


def group(path: Path, kind: str = "particle", **slots: str) -> Path:
    """A group as cryoSPARC 4 exports it."""
    results = {slot: {"metafile": name, "num_items": N, "type": f"{kind}.{slot}"} for slot, name in slots.items()}
    head = {"description": "All particles", "name": "particles", "title": "Particles", "type": kind}
    content = {"created": "2024-02-06 11:41:03.123456", "group": head, "results": results, "version": "v4.4.1"}
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def job(tmp_path):
    """A job of a project whose table has the poses, and whose passthrough file has all else, for two rows more."""
    noise = np.random.default_rng(1).standard_normal((N, BOX, BOX)).astype(np.float32)
    write_stack(tmp_path / "P1/J1/stack.mrc", noise, 3.0)
    folder = tmp_path / "P1/J2"
    folder.mkdir()
    lens = {"accel_kv": 300, "cs_mm": 2.7, "amp_contrast": 0.1, "df1_A": 12e3, "df2_A": 11e3, "df_angle_rad": 0.1}
    more = N + 2
    everything = {f"ctf__{name}": np.full(more, value, np.float32) for name, value in lens.items()}
    saved(
        folder / "J2_passthrough_particles.cs",
        uid=np.arange(9, 9 + more, dtype=np.uint64),
        blob__path=np.full(more, b"J1/stack.mrc"),
        blob__idx=np.array([0, 0, 1, 2, 3, 0], np.uint32),
        blob__psize_A=np.full(more, 3, np.float32),
        alignments3D__shift=np.full((more, 2), 5, np.float32),
        **everything,
    )
    saved(
        folder / "J2_particles.cs",
        alignments3D__pose=np.linspace(-1, 1, 3 * N, dtype=np.float32).reshape(N, 3),
        alignments3D__shift=np.ones((N, 2), np.float32),
        alignments3D__psize_A=np.full(N, 3, np.float32),
        alignments3D__split=np.array([0, 1, 0, 1], np.uint32),
    )
    return folder


BESIDE = {"alignments3D": ">J2_particles.cs", "blob": ">J2_passthrough_particles.cs"}


@pytest.mark.parametrize("place", [">", "J2/"])
def test_a_group_says_what_its_tables_say(job, place):
    slots = {slot: name.replace(">", place) for slot, name in BESIDE.items()}
    slots["ctf"] = slots["blob"]
    path = group(job / "J2_particles.csg", **slots)
    found, blocks = read_particles(path)
    wanted, tables = read_particles(job / "J2_particles.cs")
    assert len(found) == N
    assert found.image_index.tolist() == [0, 1, 2, 3]
    assert blocks["particles"]["rlnOriginXAngst"] == pytest.approx(
        np.full(N, 3.0)
    )  # 1 px of 3 Å, not the 5 of the job before
    for name in tables["particles"]:
        np.testing.assert_array_equal(blocks["particles"][name], tables["particles"][name])
    np.testing.assert_array_equal(found.images(), wanted.images())
    assert not check_particles(path).problems


def test_a_slot_comes_from_the_table_that_is_named_for_it(job):
    """The table with the poses has a lens of its own, which the group does not mean."""
    other = np.full(N, 2e4, np.float32)
    rows = np.load(job / "J2_particles.cs")
    fields = {name.replace("/", "__"): rows[name] for name in rows.dtype.names}
    saved(job / "J2_particles.cs", **fields, ctf__df1_A=other, ctf__df2_A=other)
    path = group(job / "J2_particles.csg", **BESIDE, ctf=">J2_passthrough_particles.cs")
    assert read_particles(path)[0].defocus_u_angst == pytest.approx(np.full(N, 12e3))


def test_every_file_of_a_group_counts(job):
    path = group(job / "J2_particles.csg", **BESIDE, ctf=">J2_passthrough_particles.cs")
    assert sorted(one.name for one in table_files(path, AS_IT_IS)) == [
        "J2_particles.cs",
        "J2_passthrough_particles.cs",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kind": "exposure"},
            r"group.type: is a group of another type \(found exposure\); give the group",
        ),
        (
            {"ctf": ">J3_particles.cs"},
            r"J2_particles.csg, results.ctf.metafile: names a table that is not there "
            r"\(found >J3_particles.cs\); copy the tables with the group",
        ),
        ({"ctf": ">" + "a" * 999 + ".cs"}, r"names a table that is not there \(found >a{199}\.\.\. \(1003 characters"),
        ({"ctf": "map.mrc"}, "results.ctf.metafile: names no .cs file"),
    ],
)
def test_what_is_no_group_of_particles_is_refused_by_name(job, change, message):
    path = group(job / "J2_particles.csg", **(BESIDE | change))
    with pytest.raises(BlushError, match=message):
        read_particles(path)


def test_yaml_that_is_no_group_is_told(job):
    (job / "odd.csg").write_text("name: x\n")
    assert "names no results of a group" in str(check_particles(job / "odd.csg").problems[0])
    (job / "odd.csg").write_text("group: [\n")
    assert "is not YAML" in str(check_particles(job / "odd.csg").problems[0])
