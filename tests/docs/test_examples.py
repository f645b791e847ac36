"""The examples of the documentation run as they are printed."""

import re
import types
from pathlib import Path

import pytest
import torch
import yaml

from blush.config.run import RunConfig
from blush.config.training import TrainingConfig
from blush.fourier.filter import raised_cosine
from blush.fourier.grid import radius_3d
from blush.regularise.base import HalfMaps, Regulariser
from blush.regularise.drive import Policy, drive
from blush.simulate.settings import SimulateConfig

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code_blocks(page: str, language: str) -> list[str]:
    return [code for found, code in _FENCE.findall((ROOT / page).read_text()) if found == language]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_python_page_runs_from_top_to_bottom(tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    session: dict[str, object] = {"__name__": "session"}
    for number, code in enumerate(code_blocks("docs/python.md", "python"), start=1):
        exec(compile(code, f"docs/python.md, block {number}", "exec"), session)
    assert session["state"].iteration == 1
    curve = session["fsc"](session["volume"], session["again"])[1 : session["r_max"]]
    assert curve.min() > 0.95  # "all but 1"
    assert torch.allclose(session["transfer"][:, 0], torch.full((3,), 0.1))
    assert len(session["sums"].table["pmax"]) == 3
    assert (tmp_path / "best.star").is_file()
    assert (tmp_path / "results/tiny/run_class001.mrc").is_file()


def test_the_regulariser_of_the_documentation_keeps_the_contract():
    [code] = code_blocks("docs/regularisers.md", "python")
    module = types.ModuleType("documented")
    exec(compile(code, "docs/regularisers.md", "exec"), module.__dict__)
    regulariser: Regulariser = module.Gaussian()
    generator = torch.Generator().manual_seed(1)
    halves = torch.randn(2, 24, 24, 24, generator=generator)
    fsc = torch.where(torch.arange(13) < 6, 0.9, 0.0).numpy()
    maps = half_maps(halves, fsc)
    made = drive(regulariser, maps, Policy(trailing_shells=2))
    radius = radius_3d(24)
    gain = torch.exp2(-((radius / 6) ** 2)) * raised_cosine(radius, 4, 2)  # its filter, and trailing: 6 - 2
    expected = torch.fft.irfftn(torch.fft.rfftn(halves[0]) * gain, s=halves.shape[1:])
    torch.testing.assert_close(made.references[0], expected.float(), rtol=0, atol=1e-6)
    assert made.diagnostics["notes"] == {"half_shell": 6}


def half_maps(halves: torch.Tensor, fsc: object) -> HalfMaps:
    sums = types.SimpleNamespace(box_px=halves.shape[-1], grid=halves)
    return HalfMaps(
        sums=(sums, sums),
        fsc=fsc,
        fsc_unmasked=fsc,
        tau2=None,
        sigma2_ref=None,
        unregularised=lambda half: halves[half],
        wiener=lambda half: halves[half],
        pixel_size_angst=3.0,
        particle_diameter_angst=60.0,
        symmetry="C1",
        mask=None,
        iteration=1,
        local=False,
    )


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_settings_that_are_shown_exist(page):
    """Complete configurations are valid; fragments name settings that exist."""
    for text in code_blocks(f"docs/{page}", "yaml"):
        content = yaml.safe_load(text)
        known = RunConfig.model_fields
        if "imaging" in content or "specimen" in content:
            known = SimulateConfig.model_fields
        elif "sources" in content:
            known = TrainingConfig.model_fields
            TrainingConfig.model_validate(content)
        assert set(content) <= set(known), text
        if "particles" in content:
            RunConfig.model_validate(content)
        for key, value in content.items():
            if isinstance(value, dict):
                section = known[key].annotation
                fields = getattr(section, "model_fields", None)
                assert fields is None or set(value) <= set(fields), text


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (DOCS / page).read_text()):
        if not target.startswith("http"):
            resolved = DOCS / target
            assert resolved.exists() or resolved.with_suffix(".md").exists(), target
