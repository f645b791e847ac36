"""How an operator is registered with torch: one name, whose tensors' device chooses the backend.

`torch.library.custom_op` would do the same; it imports torch's compiler, 5 s and 150 MB for every process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

_LIBRARY = torch.library.Library("blush", "DEF")


def register(
    name: str,
    reference: Callable[..., Any],
    *,
    cpu: Callable[..., Any],
    fake: Callable[..., Any],
    cuda: Callable[..., Any] | None = None,
    changed: Iterable[str] = (),
) -> Callable[..., Any]:
    """Define `torch.ops.blush.<name>` and return it.

    Parameters
    ----------
    reference
        Serves every device that has no backend of its own; its annotations are the schema.
    fake
        The result of given shapes, not filled, which tracing and pretended devices ask for.
    changed
        Arguments that are changed in place.
    """
    _LIBRARY.define(name + torch.library.infer_schema(reference, mutates_args=tuple(changed)))
    _LIBRARY.impl(name, reference, "CompositeExplicitAutograd")
    _LIBRARY.impl(name, cpu, "CPU")
    if cuda is not None:
        _LIBRARY.impl(name, cuda, "CUDA")
    torch.library.register_fake(f"blush::{name}", fake, lib=_LIBRARY)
    found: Callable[..., Any] = getattr(torch.ops.blush, name).default
    return found
