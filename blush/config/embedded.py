"""Settings for work inside another program's refinement: the sections of a run that still mean something there."""

from pathlib import Path

from pydantic import Field

from blush.config.files import checked, read_yaml, resolved
from blush.config.regulariser import RegulariserSettings
from blush.config.run import PATH_KEYS
from blush.config.sections import Compute, Section, Trailing


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
    content = resolved(read_yaml(path) | {"output": "unused"}, path.absolute().parent, PATH_KEYS, "unused")
    del content["output"]
    return checked(EmbeddedConfig, content, path)
