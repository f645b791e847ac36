"""Simulated chains of segments, for every file of the room."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
