"""Mistakes in settings are told once each, in plain words, with what was probably meant."""

import time

import pytest

from blush.config.files import checked
from blush.config.run import RunConfig
from blush.errors import BlushError

GOOD = {"name": "run", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 150}


def told(**changes):
    with pytest.raises(BlushError) as caught:
        checked(RunConfig, GOOD | changes, "my.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"symetry": "C1"}, "symetry: is no setting; did you mean symmetry?"),
        ({"Symmetry": "C1"}, "Symmetry: is no setting; did you mean symmetry?"),
        ({"refinement": {"max_iteration": 3}}, "refinement.max_iteration: is no setting; did you mean max_iterations?"),
        ({"healpix_order": 3}, "healpix_order: is no setting; did you mean healpix_order below sampling:?"),
        (
            {"sampling": {"symmetry": "D2"}},
            "sampling.symmetry: is no setting; did you mean symmetry at the top, without indent?",
        ),
        (
            {"compute.workers": 2},
            "compute.workers: is no setting; did you mean workers below compute:?",
        ),
        (
            {"banana": 1},
            "banana: is no setting; remove it; the page about configuration lists every setting",
        ),
        ({"seed": "one"}, "seed: has to be a whole number (found 'one')"),
        ({"seed": 1.5}, "seed: has to be a whole number (found 1.5)"),
        ({"particle_diameter_angst": 0}, "particle_diameter_angst: has to be greater than 0 (found 0)"),
        ({"sampling": {"perturb": 1}}, "sampling.perturb: has to be less than 1 (found 1)"),
        ({"compute": {"workers": 0}}, "compute.workers: has to be 'auto' or greater than 0 (found 0)"),
        ({"compute": {"workers": "many"}}, "compute.workers: has to be 'auto' or a whole number (found 'many')"),
        (
            {"compute": {"pool": "slrum"}},
            "compute.pool: has to be 'auto', 'local', 'slurm', 'attach' or 'inline' (found 'slrum'); "
            "did you mean slurm?",
        ),
        ({"trailing": {"enabled": "perhaps"}}, "trailing.enabled: has to be true or false (found 'perhaps')"),
        ({"trailing": 3}, "trailing: has to be a section, with its settings indented below it (found 3)"),
    ],
)
def test_one_line_says_what_is_wrong_and_what_was_meant(changes, expected):
    assert told(**changes) == [expected]


def test_what_is_missing_is_described():
    content = {key: value for key, value in GOOD.items() if key != "reference"}
    with pytest.raises(BlushError) as caught:
        checked(RunConfig, content, "my.yaml")
    assert [str(problem) for problem in caught.value.problems] == [
        "reference: is missing; add it: Initial map, of any box and pixel size"
    ]


def test_a_form_is_told_in_words():
    [name] = told(name="a b")
    assert name.startswith("name: is not of the right form (found 'a b'); Name of the run, of letters, digits")
    [device] = told(compute={"device": "gpu"})
    assert "(found 'gpu'); auto, cpu, cuda or cuda:N" in device


def test_no_word_of_the_library_is_left():
    lines = told(name=3, symmetry=4, particles=[1], mask={"a": 1}, seed=[], compute={"slurm": {"options": "x"}})
    assert len(lines) == 6
    for line in lines:
        assert "Input" not in line
        assert "valid" not in line


def test_many_mistakes_are_not_all_listed():
    began = time.monotonic()
    lines = told(**{f"unknown{n}": n for n in range(20000)}, seed="x" * 200000)
    assert len(lines) == 51
    assert lines[-1] == "and 19951 more"
    assert time.monotonic() - began < 20  # put into words they would take minutes
