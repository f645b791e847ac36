"""A `conda` for one environment: made by venv, of the packages that run this test, and activated as conda's are."""

import stat
import sys
from pathlib import Path

PROGRAM = """#!/usr/bin/env bash
set -eu
case "$*" in
  "info --json") echo '{{"conda_prefix": "{base}", "platform": "linux-64"}}' ;;
  "--version") echo "conda 25.1.0" ;;
  "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create "*)
    while [ "$1" != --prefix ]; do
      [ "$1" = --file ] && cp "$2" "{base}/asked.yaml"
      shift
    done
    "{python}" -m venv --without-pip "$2"
    site="$("$2/bin/python" -c 'import site; print(site.getsitepackages()[0])')"
    echo "{packages}" > "$site/host.pth"
    echo 'import sys; print(sys.prefix, sys.argv, file=open("{base}/used", "a"))' > "$site/sitecustomize.py" ;;
  "clean "*) ;;
  *) echo "conda: $*: not known to the stand-in" >&2; exit 1 ;;
esac
"""


def make_conda(base: Path, packages: Path) -> Path:
    """Write the program, and `activate` beside it; Pythons of its environments note that they began in `used`.

    Parameters
    ----------
    packages
        Folder of installed packages that the environments see.

    Returns
    -------
    The folder to put on the PATH.
    """
    folder = base / "bin"
    folder.mkdir(parents=True)
    program = folder / "conda"
    program.write_text(PROGRAM.format(base=base, python=sys.executable, packages=packages))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "activate").write_text('. "$1/bin/activate"\n')
    return folder
