"""The section of a helix: what belongs together, and the number that would be right."""

import pytest

from blush.config import load_config
from blush.errors import BlushError

HEAD = "name: run\njob: helix\nparticles: p.star\nreference: r.mrc\nparticle_diameter_angst: 150\n"
GOOD = {"rise_angst": 21, "twist_deg": 37, "tube_diameter_angst": 120}


def load(folder, changes=(), more=""):
    path = folder / "run.yaml"
    section = {key: value for key, value in (GOOD | dict(changes)).items() if value is not None}
    path.write_text(HEAD + more + "helix:\n" + "".join(f"  {key}: {value}\n" for key, value in section.items()))
    return load_config(path)


def test_a_helix_says_what_has_no_default(tmp_path):
    helix = load(tmp_path).helix
    assert (helix.rise_angst, helix.twist_deg, helix.tube_diameter_angst) == (21, 37, 120)
    assert (helix.central_fraction, helix.units_per_segment, helix.impose_symmetry) == (0.3, None, True)
    assert load(tmp_path, {"rise_range_angst": "[20, 22.5]"}).helix.most_rise_angst == 22.5
    assert helix.most_rise_angst == 21


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rise_angst": None, "twist_deg": None}, "job: helix lacks rise_angst, twist_deg; give them in the section"),
        ({"rise_range_angst": "[22, 24]"}, "rise_angst 21 is outside of rise_range_angst [22, 24]; give [21, 24]"),
        ({"rise_range_angst": "[24, 20]"}, "rise_range_angst [24, 20] is empty; write [20, 24]"),
        ({"twist_range_deg": "[30, 36]"}, "twist_deg 37 is outside of twist_range_deg [30, 36]; give [30, 37]"),
        ({"tube_diameter_angst": 160}, "helix.tube_diameter_angst 160 is over particle_diameter_angst 150; give at"),
        ({"tube_inner_diameter_angst": 120}, "tube_inner_diameter_angst 120 leaves nothing of the tube; give less"),
        ({"rise_angst": 0.001}, "helix.rise_angst: has to be greater than 0.001 (found 0.001)"),
        ({"twist_deg": 361}, "helix.twist_deg: has to be at most 360 (found 361)"),
        ({"central_fraction": 1}, "helix.central_fraction: has to be less than 0.999 (found 1)"),
    ],
)
def test_what_does_not_fit_is_told_with_the_number_that_would_be_right(tmp_path, changes, expected):
    with pytest.raises(BlushError) as caught:
        load(tmp_path, changes)
    assert expected in str(caught.value)


def test_a_filament_has_no_symmetry_across_its_axis(tmp_path):
    with pytest.raises(BlushError, match="symmetry D1: a filament with one polarity has none such; set symmetry: C1"):
        load(tmp_path, more="symmetry: D1\n")
    assert load(tmp_path, more="symmetry: C2\n").symmetry == "C2"
