"""Every command that a page prints in a block is run by a test: here, page by page, or where `ELSEWHERE` says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import scenes
from page_commands import PAGES, ROOT, command_lines, commands, run, text_of

HERE = {"docs/amyloid.md", "docs/classification.md", "docs/helical.md", "docs/regularisers.md", "docs/training.md"}
"""Pages of which the tests below run every line."""
BESIDE = {
    "README.md": "test_readme.py::test_the_readme_leads_from_particles_to_a_page",
    "docs/tutorial.md": "test_commands.py::test_the_demo_of_the_tutorial",
    "docs/multibody.md": "test_commands.py::test_from_a_consensus_to_bodies_and_their_motions",
    "docs/orientation.md": "test_commands.py::test_what_is_done_with_a_result",
    "docs/cryosparc.md": "test_commands.py::test_what_is_done_with_a_result",
    "docs/subtraction.md": "test_commands.py::test_what_is_done_with_a_result",
}
"""Pages that other tests of this folder go through."""
ELSEWHERE = {
    r"snakemake --profile profiles/local": "tests/workflow/test_workflow_style.py::test_the_plain_profile_names_work",
    r"snakemake --profile local": "tests/workflow/test_workflow_style.py::test_the_plain_profile_names_work",
    r"make (setup|lint|test)": ".ci/run",
    r"blush compare-regularisers": "tests/jobs/test_compare_regularisers.py::",
    r"blush check-regulariser": "tests/jobs/test_truth_checks.py::",
    r"make docs": "tests/docs/test_site.py::test_the_site_is_built_without_a_warning",
    r"make demo": "tests/docs/test_commands.py::test_the_demo_of_the_tutorial",
    r"export |mpirun ": "tests/relion/test_external_reconstruct.py::",
    r"python benchmarks/(make_sets|paired|peer).py": "tests/docs/test_long_commands.py::test_the_amyloids_of_the_bench",
    r"python scripts/refined_pairs.py": "tests/docs/test_long_commands.py::test_pairs_from_refinements",
    r"blush check-device": "tests/docs/test_long_commands.py::test_a_device_is_checked",
    r"BLUSH_PARTITION=\w+ blush run my.yaml --slurm": "tests/workflow/test_workflow_slurm.py::test_workers_as",
}
"""Lines of blocks that are run by a test of another file or folder, which needs what these do not have."""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run_by_a_test(page):
    if page in HERE | BESIDE.keys():
        return
    known = [re.compile(pattern) for pattern in ELSEWHERE]
    assert [line for line in command_lines(text_of(page)) if not any(one.match(line) for one in known)] == []


@pytest.mark.parametrize("place", sorted({*ELSEWHERE.values(), *(f"tests/docs/{one}" for one in BESIDE.values())}))
def test_the_tests_that_are_named_are_there(place):
    path, _, name = place.partition("::")
    assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8") or not name
    assert (ROOT / path).is_file()


@pytest.mark.slow
def test_what_is_said_of_classes(tmp_path):
    scenes.classified(tmp_path)
    lines = commands(text_of("docs/classification.md"))
    assert len(lines) == 5
    for line in lines:
        run(line, tmp_path)
    assert (tmp_path / "good.star").is_file()
    for folder in ("results/two-states/classes_verified", "Class3D/job031/classes_verified", "verified"):
        assert (tmp_path / folder / "classes_verified.json").is_file(), folder


@pytest.mark.slow
def test_what_is_said_of_filaments(tmp_path):
    scenes.filaments(tmp_path)
    for line in commands(text_of("docs/helical.md")):
        run(f"{line} --resolution 13" if "segments.star" in line else line, tmp_path)  # these pixels are of 6 Å
        if line.startswith("blush run"):
            scenes.more_filaments(tmp_path)
    assert (tmp_path / "results/filaments/report.html").is_file()
    assert (tmp_path / "start.mrc").is_file()
    assert (tmp_path / "symmetry/helix_symmetry.html").is_file()


@pytest.mark.slow
@pytest.mark.thorough
def test_an_amyloid_goes_from_the_table_to_the_map(tmp_path):
    scenes.amyloids(tmp_path)
    for line in commands(text_of("docs/amyloid.md")):
        run(line, tmp_path)
    written = (tmp_path / "mine.yaml").read_text()
    assert "job: helix" in written
    assert "tube_diameter_angst: 70" in written
    for name in ("amyloid/report.html", "amyloid/postprocess/filaments.tsv", "fifth/postprocess.mrc"):
        assert (tmp_path / "results" / name).is_file(), name
    assert (tmp_path / "results/amyloid/helix_evidence/helix_evidence.html").is_file()


def test_published_weights_are_imported_as_the_page_says(tmp_path):
    scenes.bundle(tmp_path)
    [line] = commands(text_of("docs/regularisers.md"))
    run(line, tmp_path)
    assert (tmp_path / "blush.safetensors").is_file()


def made(command, folder):
    """Run a line in a shell that finds this environment's programs first."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
def test_what_is_said_of_training(tmp_path):
    scenes.training(tmp_path)
    train, _ = command_lines(text_of("docs/training.md"))
    made(train, tmp_path)
    for name in ("evaluation/evaluation.html", "export/manifest.json", "export/tiny.safetensors"):
        assert (tmp_path / "training/tiny" / name).is_file(), name


def test_a_command_that_no_test_runs_is_found():
    text = "Say\n\n    snakemake mystery\n\nor\n\n```\nblush init   # asks\n```\n"
    assert command_lines(text) == ["blush init", "snakemake mystery"]
    assert not any(re.match(pattern, "snakemake mystery") for pattern in ELSEWHERE)
