"""What is generated from the configuration models is committed and not stale."""

import json
from pathlib import Path

import pytest
import yaml

from blush.config import RunConfig, load_config
from blush.config.reference import defaults_yaml, markdown, schema_json, training_defaults, training_markdown
from blush.config.training import TrainingConfig, load_training

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("path", "generate"),
    [
        ("docs/configuration.md", markdown),
        ("config/config.yaml", defaults_yaml),
        ("workflow/schemas/config.schema.json", schema_json),
        ("docs/training-configuration.md", training_markdown),
        ("config/train_default.yaml", training_defaults),
    ],
)
def test_generated_files_are_current(path, generate):
    assert (ROOT / path).read_text(encoding="utf-8") == generate(), f"{path} is stale; run `make reference`"


def test_the_default_file_holds_the_defaults():
    config = load_config(ROOT / "config" / "config.yaml")
    given = {"name", "particles", "reference", "particle_diameter_angst", "output"}
    plain = RunConfig(name="x", particles="p", reference="r", particle_diameter_angst=1)
    assert config.model_dump(exclude=given) == plain.model_dump(exclude=given)
    assert list(yaml.safe_load((ROOT / "config" / "config.yaml").read_text())) == list(RunConfig.model_fields)


def test_every_setting_is_described():
    schema = json.loads(schema_json())
    sections = [schema, *schema["$defs"].values()]
    bare = [
        name
        for section in sections
        for name, field in section.get("properties", {}).items()
        if "description" not in field
    ]
    assert bare == []
    assert all(f"`{name}`" in markdown() for section in sections for name in section.get("properties", {}))


def test_the_default_file_of_a_training_holds_the_defaults():
    config = load_training(ROOT / "config" / "train_default.yaml")
    plain = TrainingConfig.model_validate({"name": "x", "sources": {"simulated": {"models": "m"}}})
    given = {"name": True, "output": True, "sources": {"simulated": {"models"}}}
    assert config.model_dump(exclude=given) == plain.model_dump(exclude=given)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("train_*.yaml")), ids=lambda path: path.name)
def test_shipped_trainings_are_valid(path):
    config = load_training(path)
    assert config.sources.simulated.models is None or config.sources.simulated.models.is_file()
