"""Print what a refinement of simulated particles reports beside the truth: `scripts/print_demo.py RUN`."""

import json
import sys
from pathlib import Path


def main() -> None:
    """Read RUN/summary.json and print a few lines."""
    run = Path(sys.argv[1])
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    truth, time = summary["truth"], summary["timing"]
    poses = truth["poses"]
    lines = {
        "resolution reported": f"{summary['resolution_angst']:.2f} Å (half-maps against each other, FSC 0.143)",
        "resolution true": f"{truth['resolution_angst']:.2f} Å (map against the truth, FSC {truth['threshold']:.2f})",
        "poses": f"{poses['angle_median_deg']:.2f}° and {poses['shift_median_angst']:.2f} Å off the truth (median)",
        "iterations": f"{summary['iterations']} ({summary['stop_reason']})",
        "time": f"{time['wall_seconds']:.0f} s; largest process {time['peak_memory_gb']:.2f} GB",
        "map": str(run / "postprocess" / "postprocess.mrc"),
        "report": str(run / "report.html"),
    }
    for name, text in lines.items():
        print(f"{name:<20} {text}")


if __name__ == "__main__":
    main()
