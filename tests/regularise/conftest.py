"""Every regulariser in turn, as the fixture `method`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from methods import METHODS

from blush.regularise.base import Regulariser


@pytest.fixture(params=sorted(METHODS))
def method(request, tmp_path) -> Regulariser:
    """One regulariser, with whatever files it needs."""
    return METHODS[request.param](tmp_path)
