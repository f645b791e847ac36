"""The harness lies beside its tests, as a package that its workers can import too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
