"""Makes the reference implementation importable by the tests beside it, and keeps torch to one thread."""

import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))
