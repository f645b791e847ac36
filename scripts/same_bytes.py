"""Does this version of Blush leave the results of a run as another one does? Compares the files that a user reads.

    python scripts/same_bytes.py RUN OTHER_RUN

RUN and OTHER_RUN are output folders of the same refinement, by two versions. Maps, STAR tables, models of viewing
directions and the summary must be equal byte for byte, apart from the marks that name the version: seals, the version
of the algorithm, dates and paths of the folder itself. What lies in `itNNN/` and `import/` may change its layout.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import mrcfile
import numpy as np

PATTERNS = ("*.mrc", "*.star", "*.bild", "summary.json", "postprocess/*.mrc", "postprocess/*.star")
MARKS = re.compile(r"^#.*$|blush-seal \S+ \S+ \S+ \S+", re.MULTILINE)
OWN = ("algorithm", "timing", "versions")


def content(path: Path, run: Path) -> bytes:
    """What must be equal: the numbers of a map, or a text without the marks of its version."""
    if path.suffix == ".mrc":
        with mrcfile.open(path, permissive=True) as file:
            cell = np.array([file.voxel_size[axis] for axis in "xyz"], np.float32)
            return file.data.tobytes() + cell.tobytes()
    text = re.sub(rf"\S*{re.escape('/'.join(run.resolve().parts[-2:]))}", "RUN", path.read_text())
    if path.suffix == ".json":
        return json.dumps(json.loads(text, object_hook=_without_marks)).encode()
    return MARKS.sub("", text).encode()


def _without_marks(values: dict) -> dict:
    return {key: value for key, value in values.items() if key not in OWN and not key.startswith("~")}


def main() -> int:
    """Print every difference; 0 if there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("other", type=Path)
    chosen = parser.parse_args()
    names = [
        {str(path.relative_to(run)) for pattern in PATTERNS for path in run.glob(pattern)}
        for run in (chosen.run, chosen.other)
    ]
    wrong = [f"only in one: {name}" for name in sorted(names[0] ^ names[1])]
    wrong += [
        f"differs: {name}"
        for name in sorted(names[0] & names[1])
        if content(chosen.run / name, chosen.run) != content(chosen.other / name, chosen.other)
    ]
    sys.stdout.write("\n".join([*wrong, f"{len(names[0] & names[1])} files compared, {len(wrong)} differences", ""]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
