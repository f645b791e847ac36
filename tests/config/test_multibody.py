"""Bodies of a configuration: what fits together, and paths inside their list."""

import pytest

from blush.config import load_config
from blush.errors import BlushError

HEAD = "name: run\njob: multibody\nparticles: p.star\nreference: r.mrc\nparticle_diameter_angst: 150\n"
CORE = "{name: core, mask: core.mrc}"


def load(folder, bodies, more="", job="multibody"):
    path = folder / "run.yaml"
    listed = "".join(f"    - {body}\n" for body in bodies)
    text = HEAD.replace("multibody", job) + more + "multibody:\n" + (f"  bodies:\n{listed}" if bodies else "  {}\n")
    path.write_text(text)
    return load_config(path)


def told(folder, bodies, more=""):
    with pytest.raises(BlushError) as caught:
        load(folder, bodies, more)
    [problem] = caught.value.problems
    return str(problem)


def test_masks_in_the_list_start_at_the_folder_of_the_file(tmp_path):
    config = load(tmp_path, [CORE, "{name: head, mask: ../head.mrc, hinge_with: core, sigma_rotation_deg: 15}"])
    core, head = config.multibody.bodies
    assert core.mask == tmp_path / "core.mrc"
    assert head.mask == tmp_path.parent / "head.mrc"
    assert (head.hinge_with, head.sigma_rotation_deg, head.refine) == ("core", 15, True)
    assert config.multibody.files == {"bodies.1.mask": core.mask, "bodies.2.mask": head.mask}


def test_half_maps_and_body_file_are_paths_too(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(HEAD + "multibody: {half_maps: [a.mrc, b.mrc], body_file: bodies.star}\n")
    bodies = load_config(path).multibody
    assert bodies.half_maps == (tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert bodies.body_file == tmp_path / "bodies.star"


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([CORE, CORE], "two bodies are called core; give each a name of its own"),
        ([CORE, "{name: head, mask: h.mrc, hinge_with: neck}"], "hinges with neck, which is no body; name one of core"),
        ([CORE, "{name: head, mask: h.mrc, hinge_with: head}"], "body head hinges with itself"),
        ([CORE.replace("}", ", refine: false}"), "{name: head, mask: h.mrc, refine: false}"], "no body is refined"),
        ([CORE], "body core is the only one; set multibody.rest: true to subtract what its mask leaves"),
        ([], "job: multibody has no bodies; list them in multibody.bodies"),
        (
            [CORE, "{name: head, mask: h.mrc, sigma_offset_angst: 0}"],
            "multibody.bodies.1.sigma_offset_angst: has to be greater than 0 (found 0)",
        ),
        ([CORE, "{name: head, mask: h.mrc, sigma: 3}"], "multibody.bodies.1.sigma: is no setting"),
        ([CORE, "{name: head}"], "multibody.bodies.1.mask: is missing; add it: Soft mask of the body"),
        ([CORE, "{name: a b, mask: h.mrc}"], "multibody.bodies.1.name: is not of the right form (found 'a b')"),
    ],
)
def test_what_does_not_fit_is_told_with_its_remedy(tmp_path, bodies, expected):
    assert expected in told(tmp_path, bodies)


def test_one_refined_body_with_a_fixed_rest_is_local_refinement(tmp_path):
    config = load(tmp_path, [CORE, "{name: rest, mask: rest.mrc, refine: false}"])
    assert [body.refine for body in config.multibody.bodies] == [True, False]


REST = "  rest: true\n"


def test_one_body_and_what_its_mask_leaves_are_local_refinement(tmp_path):
    head = "{name: head, mask: h.mrc, hinge_with: rest, fulcrum_angst: [10, -2.5, 30]}"
    path = tmp_path / "run.yaml"
    path.write_text(f"{HEAD}multibody:\n  bodies: [{head}]\n{REST}")
    found = load_config(path).multibody
    assert found.rest
    [body] = found.bodies
    assert (body.hinge_with, body.fulcrum_angst) == ("rest", (10.0, -2.5, 30.0))
    assert found.files == {"bodies.1.mask": tmp_path / "h.mrc"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{name: rest, mask: h.mrc}", "a body is called rest, as that which multibody.rest makes; give it another"),
        ("{name: head, mask: h.mrc, refine: false}", "no body is refined; set refine: true for one"),
        ("{name: head, mask: h.mrc, hinge_with: neck}", "which is no body; name one of head, rest"),
        ("{name: head, mask: h.mrc, fulcrum_angst: [1, 2]}", "multibody.bodies.0.fulcrum_angst.2: is missing"),
    ],
)
def test_mistakes_of_local_refinement_are_told(tmp_path, body, expected):
    path = tmp_path / "run.yaml"
    path.write_text(f"{HEAD}multibody:\n  bodies: [{body}]\n{REST}")
    with pytest.raises(BlushError) as caught:
        load_config(path)
    assert expected in str(caught.value)


def test_symmetry_has_to_be_expanded_first(tmp_path):
    bodies = [CORE, "{name: head, mask: h.mrc}"]
    assert "symmetry D2: bodies move each for itself" in told(tmp_path, bodies, "symmetry: D2\n")
    assert load(tmp_path, bodies, "symmetry: D2\n", job="refine").symmetry == "D2"


def test_one_half_map_and_two_lists_of_bodies_are_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(HEAD + "multibody: {half_maps: [a.mrc], body_file: b.star}\n")
    with pytest.raises(BlushError, match="half_maps names 1 maps; give both, or none"):
        load_config(path)
    path.write_text(HEAD + f"multibody: {{body_file: b.star, bodies: [{CORE}]}}\n")
    with pytest.raises(BlushError, match="body_file and bodies exclude each other"):
        load_config(path)
