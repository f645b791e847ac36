"""Make the maps of iteration 1 of an imported classification up to its sums: `python class_maps_peak.py RUN`.

Prints the peak memory of this process in bytes.
"""

import sys
from pathlib import Path

from blush.jobs import steps

if __name__ == "__main__":
    steps.denoise_and_trail(Path(sys.argv[1]), 1)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    sys.stdout.write(str(1024 * int(status.split("VmHWM:")[1].split()[0])))
