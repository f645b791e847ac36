"""Settings for work inside another program's refinement: the sections of a run that still mean something there."""

from pathlib import Path

from pydantic import Field, ValidationError

from blush.config.regulariser import RegulariserSettings
from blush.config.run import _problem, _read_yaml, _resolved
from blush.config.sections import Compute, Section, Trailing
from blush.errors import BlushError


class EmbeddedConfig(Section):
    """One regulariser in a refinement by RELION."""

    regulariser: RegulariserSettings = Field(default=RegulariserSettings(), description="Prior of the maps")
    trailing: Trailing = Field(default=Trailing(), description="Cut-off of the references")
    compute: Compute = Field(default=Compute(), description="Device and precision")


def load_embedded(path: Path | None) -> EmbeddedConfig:
    """Read and check the settings; none means every default.

    Parameters
    ----------
    path
        YAML file; its relative paths start at its folder.

    Raises
    ------
    BlushError
        With every mistake of the file.
    """
    if path is None:
        return EmbeddedConfig()
    content = _resolved(_read_yaml(path) | {"output": "unused"}, path.absolute().parent)
    del content["output"]
    try:
        return EmbeddedConfig.model_validate(content)
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False)]
        raise BlushError(f"{path} has {len(problems)} mistake(s):", problems) from None
