"""Package, pins and conda environment name the same dependencies."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "dask": "dask-core", "xxhash": "python-xxhash"}
CALLERS = ("snakemake", "snakemake-executor-plugin-slurm", "pygments")
"""What calls steps, or shows their rules, and is not needed in the environment that they run in."""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_conda_environment_names_the_packages_of_the_project():
    entries = yaml.safe_load((ROOT / "workflow" / "envs" / "blush.yaml").read_text(encoding="utf-8"))["dependencies"]
    expected = [f"python{project()['requires-python']}"]
    for text in project()["dependencies"]:
        requirement = Requirement(text)
        if requirement.name in CALLERS:
            continue
        expected.append(f"{CONDA_NAMES.get(requirement.name, requirement.name)}{requirement.specifier}")
    assert sorted(entries) == sorted([*expected, "cxx-compiler", "pip"])


def test_every_dependency_is_pinned_at_a_version_that_fits():
    extras = project()["optional-dependencies"].values()
    for text in [*project()["dependencies"], *(text for extra in extras for text in extra)]:
        requirement = Requirement(text)
        version = pins().get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert version in requirement.specifier, f"{requirement} against {version}"


def test_pins_hold_no_gpu_packages():
    """Apart from the compiler of the kernels, which interprets them where there is no GPU."""
    assert pins()["torch"] == Version("2.13.0")
    assert [name for name in pins() if re.match(r"nvidia|cuda|triton", name)] == ["triton"]


def test_the_citation_is_of_the_version_that_copies_without_a_repository_have():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert citation["version"] == tools["setuptools_scm"]["fallback_version"]
    assert citation["license"] == project()["license"]
