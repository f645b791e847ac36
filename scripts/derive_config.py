"""Print a configuration with another place for its results: `scripts/derive_config.py CONFIG FOLDER WORKERS`."""

import sys
from pathlib import Path

import yaml

from blush.config import load_config


def main() -> None:
    """Everything else stays as it is; paths become absolute, the run is FOLDER/results/run."""
    source, folder, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    content = load_config(source).model_dump(mode="json")
    content |= {"name": "run", "output": str(folder / "results")}
    content["compute"] |= {"workers": workers, "pool": "local"}
    print(yaml.safe_dump(content))


if __name__ == "__main__":
    main()
