"""Fixtures of every room: one thread, and each kernel in each precision."""

import pytest
import torch

from blush.fourier import native

torch.set_num_threads(1)


@pytest.fixture(params=["float64", "float32-torch", "float32-native"])
def real(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """Real type, with the kernels that serve it: torch in both precisions, the compiled ones in float32."""
    precision, _, kernels = request.param.partition("-")
    monkeypatch.setattr(native, "_choice", kernels or "torch")
    if kernels == "native" and native.library() is None:
        pytest.skip("no C++ compiler")
    return getattr(torch, precision)


@pytest.fixture
def both_kernels(monkeypatch: pytest.MonkeyPatch):
    """Run a function under the compiled and under the torch kernels; gives both results."""
    if native.library() is None:
        pytest.skip("no C++ compiler")

    def run(compute):
        results = []
        for kernels in ("native", "torch"):
            monkeypatch.setattr(native, "_choice", kernels)
            results.append(compute())
        return results

    return run
