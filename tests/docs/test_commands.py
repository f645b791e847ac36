"""Commands that the pages print: all are understood, and those of the tutorial and of results run, on tiny data."""

import re
import shlex
import shutil
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from page_commands import PAGES, ROOT, commands, configurations, inline, run, text_of, tiny_configurations
from scenes import model_of

from blush.cli.main import app
from blush.io.mrc import read_map, write_volume

PLACEHOLDERS = re.compile(r"[A-Z_]{3,}|\.\.\.|\[.*\]")


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words call, and what is left for it."""
    found = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", ()):
        found, words = found.commands[words[0]], words[1:]
    return found, words


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_blocks_are_understood(page):
    for line in commands((ROOT / page).read_text(encoding="utf-8")):
        command, words = command_of(shlex.split(line)[1:])
        assert not hasattr(command, "commands"), line
        command.make_context(command.name, words)  # raises where an option or argument is not


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_name_commands_and_options_that_exist(page):
    for line in inline((ROOT / page).read_text(encoding="utf-8")):
        words = shlex.split(line.split(" -- ")[0])
        command, rest = command_of(words)
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        known |= {"--help", "--install-completion"}
        is_command = not hasattr(command, "commands") or words[0].startswith("-") or len(rest) < len(words)
        assert is_command or PLACEHOLDERS.match(words[0]), line
        options = {word.split("=")[0] for word in rest if word.startswith("-") and word != "--"}
        assert options <= known, line


def test_an_option_that_is_not_there_is_found():
    [line] = commands("```\nX=1 blush select RUN --klasses 1   # some\n```\n")
    command, words = command_of(shlex.split(line)[1:])
    with pytest.raises(Exception, match="No such option: --klasses"):
        command.make_context(command.name, words)


def section(number: int) -> str:
    """A section of the tutorial."""
    return re.split(r"^## ", text_of("docs/tutorial.md"), flags=re.MULTILINE)[number]


@pytest.mark.slow
def test_the_demo_of_the_tutorial(tmp_path):
    tiny_configurations(tmp_path)
    lines = commands(section(1))
    assert len(lines) == 11
    at = lines.index("blush import config/demo.yaml")
    for line in lines[:at]:
        run(line, tmp_path)
    shutil.rmtree(tmp_path / "results/demo")  # whose steps are made one by one now
    for line in lines[at:]:
        run(line, tmp_path)
    for line in ("refine config/demo.yaml", "postprocess results/demo", "report results/demo"):
        run(f"blush {line}", tmp_path)
    assert (tmp_path / "results/demo/report.html").is_file()


@pytest.mark.slow
def test_from_a_consensus_to_bodies_and_their_motions(tmp_path):
    tiny_configurations(tmp_path)
    text = section(4)
    simulate, propose, motions, report = commands(text)
    configurations(text, tmp_path)
    for name in ("consensus", "halves", "local"):
        path = tmp_path / f"{name}.yaml"
        short = {"refinement": {"max_iterations": 2}, "compute": {"device": "cpu", "memory_gb": 2}}
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | short))
    consensus, run_bodies, bodies, local = (line for line in inline(text) if ".yaml" in line)
    assert run_bodies == "run halves.yaml"
    for line in (simulate, f"blush {consensus}", propose, f"blush {bodies}", motions, report, f"blush {local}"):
        run(line, tmp_path)
    page = (tmp_path / "results/halves/report.html").read_text(encoding="utf-8")
    assert '<a href="body001/report.html">' in page
    assert "<h2>Motions</h2>" in page
    assert (tmp_path / "results/halves/motions/motions.html").is_file()
    of_bodies(tmp_path)
    for name in ("import/mask_body002.mrc", "body001/report.html", "run_body001.mrc"):
        assert f"results/local/{name}" in text
        assert (tmp_path / "results/local" / name).is_file()


def of_bodies(folder):
    """Commands of the page on bodies, with the consensus and run that were made, and a model of chains."""
    consensus = folder / "results/consensus"
    for name, made in (("consensus", "run_class001"), ("locres", "postprocess/locres")):
        shutil.copy(consensus / f"{made}.mrc", folder / f"{name}.mrc")
    model_of(folder / "fitted.cif", {"A": 360, "B": 60, "D": 60, "G": 60}, origin=96.0)
    for line in commands(text_of("docs/multibody.md")):
        if "propose-bodies" in line:
            run(line, folder)
            assert (folder / "bodies/bodies.yaml").is_file()
            shutil.rmtree(folder / "bodies")


@pytest.mark.slow
def test_from_a_mixture_to_classes_to_the_best_of_them(tmp_path):
    tiny_configurations(tmp_path)
    text = section(3)
    simulate, verify, select = commands(text)
    configurations(text, tmp_path)
    run(simulate, tmp_path)
    assert [line for line in inline(text) if ".yaml" in line] == [
        "refine mixture.yaml", "classify states.yaml", "refine whole.yaml"
    ]  # fmt: skip
    run("blush refine mixture.yaml", tmp_path)
    run("blush classify states.yaml", tmp_path)
    run(verify, tmp_path)
    run(select, tmp_path)
    *_, last = sorted((tmp_path / "results/states").glob("run_it*_class001.mrc"))
    whole = (tmp_path / "whole.yaml").read_text()
    (tmp_path / "whole.yaml").write_text(re.sub(r"run_it\d+_class001", last.stem, whole))
    run("blush refine whole.yaml", tmp_path)
    assert (tmp_path / "results/whole/postprocess/postprocess.mrc").is_file()


@pytest.fixture(scope="module")
def betagal(tmp_path_factory):
    """The folder of section 2 after its refinement, of a few images of another particle in the same box."""
    folder = tmp_path_factory.mktemp("betagal")
    tiny_configurations(folder, 64)
    run("blush simulate config/simulate_demo.yaml", folder)
    made = folder / "results/demo_particles"
    for old, new in (("particles.star", "particles_clean.star"), ("reference.mrc", "initial_reference_50A.mrc")):
        shutil.copy(made / old, folder / new)
    shutil.move(made / "stacks", folder)
    init, check, *_ = commands(section(2))
    run(init.replace("200", "150").replace("D2", "D4"), folder)
    run(check, folder)
    text = (folder / "betagal.yaml").read_text()
    (folder / "betagal.yaml").write_text(f"{text}\nrefinement: {{max_iterations: 2}}\n")
    run("blush refine betagal.yaml", folder)
    return folder


@pytest.mark.slow
def test_what_is_done_with_a_result(betagal):
    """Commands of other pages that take the results of the tutorial."""
    results = betagal / "results/betagal"
    mask = read_map(results / "postprocess/mask.mrc")
    half = np.arange(mask.array.shape[0]) < mask.array.shape[0] // 2
    write_volume(betagal / "part.mrc", mask.array * half[:, None, None], mask.pixel_size_angst)
    shutil.copy(results / "postprocess/mask.mrc", betagal)
    for number in (1, 2):
        shutil.copy(results / f"run_half{number}_class001_unfil.mrc", betagal / f"half{number}.mrc")
    shutil.copy(results / "run_data.star", betagal)
    text = {
        page: (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
        for page in ("orientation", "cryosparc", "subtraction")
    }
    whole, centred, _, posed, revert = commands(text["subtraction"])
    [again] = commands(section(6))
    again = again.replace("results/part", "results/again")
    few = ((" results/betagal", " results/betagal --fewest 10"), (" --output subsets", " --output subsets --fewest 10"))
    symmetric = [
        line.replace("D2", "D4").replace("--diameter 200", "--diameter 150") for line in commands(text["orientation"])
    ]
    for old, new in few:
        symmetric = [line.replace(old, new) if " reslog " in line else line for line in symmetric]
    for line in (
        *symmetric,
        *commands(text["cryosparc"]),
        "blush watch results/betagal",
        whole,
        centred,
        again,
        posed,
        revert,
    ):
        run(line, betagal)
    assert (betagal / "results/betagal/cryosparc/particles.cs").is_file()
    assert list((betagal / "found").iterdir())
    assert (betagal / "results/whole").exists()
