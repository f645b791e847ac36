"""The map in 3D, inside the page: its surface at a contour level, coloured by local resolution; needs no network."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from blush.io.mrc import read_volume
from blush.report.map_figures import LOCAL_COLOURS, best_map, local_limits, surface_level
from blush.report.run_data import RunData, unchanged
from blush.report.sheet import section

FINEST_PX, COARSEST_PX = 128, 64
"""Longest side of the map that is shown: more are made fewer, fewer are made more..."""
MOST_FINER = 3
"""... but no more than by this."""
_MARGIN_PX = 2
_PLAIN = "#8fa9c4"
_STOPS = 16
Volume = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """What the viewer draws.

    Attributes
    ----------
    values
        (d, h, w) density around the molecule, each `step_angst` from the next.
    level, lowest, highest
        Contour at first, and the ends of its slider.
    local_angst
        (d', h', w') local resolution at every second of these places; None where it was not measured.
    limits_angst
        Local resolutions that are shown in the first and the last colour.
    parts
        Names of parts of the molecule and their colours, where these are shown instead: `local_angst` is then the
        number of the part, from 0.
    """

    name: str
    values: Volume
    step_angst: float
    level: float
    lowest: float
    highest: float
    local_angst: Volume | None
    limits_angst: tuple[float, float]
    parts: tuple[tuple[str, str], ...] = ()


def map_view(run: RunData) -> str:
    """HTML of the section; empty before there is a map."""
    scene = _scene(run)
    return "" if scene is None else view(scene)


def view(scene: Scene) -> str:
    """HTML of a section that draws a scene."""
    library, script = (
        files("blush.report").joinpath(name).read_text(encoding="utf-8")
        for name in ("data/3Dmol-min.js", "map_view.js")
    )
    step = (scene.highest - scene.lowest) / 200
    buttons = "".join(f'<button type="button" id="map3d-{axis}">{axis}</button>' for axis in "xyz")
    return section(
        "Map",
        '<div id="map3d" role="img" aria-label="Surface of the map in 3D"></div>',
        '<div class="controls"><label>Contour <input type="range" id="map3d-level" '
        f'min="{scene.lowest:.6g}" max="{scene.highest:.6g}" step="{step:.6g}" value="{scene.level:.6g}"></label>'
        f'<span class="views">Look along {buttons}</span>{_legend(scene)}</div>',
        '<p class="note"><span id="map3d-told">The map is drawn by a script, which this browser does not run.</span> '
        f"{escape(_told(scene))}</p>",
        f'<script type="application/json" id="map3d-scene">{json.dumps(_packed(scene), sort_keys=True)}</script>',
        f"<script>\n{library}\n</script>\n<script>\n{script}</script>",
    )


def _told(scene: Scene) -> str:
    colour = "the colour is the local resolution" if scene.local_angst is not None else "not coloured"
    colour = "coloured by body" if scene.parts else colour
    return f"{scene.name} at a grid of {scene.step_angst:.3g} Å; {colour}. Drag to turn it; hold and scroll to zoom."


def _legend(scene: Scene) -> str:
    if scene.local_angst is None:
        return ""
    if scene.parts:
        named = (f'<i style="background: {colour}; width: 0.7rem"></i> {escape(name)}' for name, colour in scene.parts)
        return f'<span class="legend">{" ".join(named)}</span>'
    low, high = scene.limits_angst
    stops = ", ".join(_colours())
    return (
        f'<span class="legend">{low:.3g} Å <i style="background: linear-gradient(to right, {stops})"></i> '
        f"{high:.3g} Å</span>"
    )


def _colours() -> list[str]:
    return [to_hex(colour) for colour in colormaps[LOCAL_COLOURS](np.linspace(0, 1, _STOPS))]


def _scene(run: RunData) -> Scene | None:
    path = best_map(run)
    if path is None:
        return None
    volume, pixel_angst = read_volume(unchanged(path))
    place = _molecule(run, volume)
    cut = volume[place]
    step = step_of(max(cut.shape))
    local = run.folder / "locres.mrc" if path.parent == run.folder else None
    shown, limits = None, (0.0, 1.0)
    if local is not None and local.exists():
        whole = read_volume(unchanged(local))[0]
        limits = local_limits(run, whole)
        shown = affine_transform(whole[place], [2 * step] * 3, output_shape=shape_at(cut.shape, 2 * step), order=1)
    return scene_of(path.name, cut, pixel_angst, shown, limits)


def scene_of(
    name: str,
    cut: Volume,
    pixel_angst: float,
    colour: Volume | None,
    limits: tuple[float, float],
    parts: tuple[tuple[str, str], ...] = (),
) -> Scene:
    """A scene of a map that was cut to the molecule, with what colours it, and the ends of its slider."""
    step, level = step_of(max(cut.shape)), surface_level(cut)
    top = float(np.quantile(cut[cut > 0], 0.999)) if (cut > 0).any() else 1.0
    highest = max(top, 1.5 * level)
    lowest, values = min(0.2 * level, highest), _resampled(cut, step)
    return Scene(name, values, pixel_angst * step, level, lowest, highest, colour, limits, parts)


def _molecule(run: RunData, volume: Volume) -> tuple[slice, ...]:
    """The part of the box that holds the mask, or else the particle's sphere, and a margin."""
    mask, sides = run.folder / "mask.mrc", volume.shape
    if mask.exists():
        inside = read_volume(unchanged(mask))[0] > 0.01
        spans = [np.flatnonzero(inside.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        ends = [(int(span[0]), int(span[-1]) + 1) if len(span) else (0, side)
                for span, side in zip(spans, sides, strict=True)]  # fmt: skip
    else:
        facts = None if run.last is None else run.last.facts
        reach = sides[0] / 2 if facts is None else facts.particle_diameter_angst / facts.pixel_size_angst / 2
        ends = [(int(side / 2 - reach), int(side / 2 + reach) + 2) for side in sides]
    margins = ((max(0, a - _MARGIN_PX), min(side, b + _MARGIN_PX)) for (a, b), side in zip(ends, sides, strict=True))
    return tuple(slice(*one) for one in margins)


def step_of(side: int) -> float:
    """Distance of the shown places in voxels, of a map of that many along its longest side."""
    if side > FINEST_PX:
        return (side - 1) / (FINEST_PX - 1)
    return 1 / min(MOST_FINER, max(1, round(COARSEST_PX / side + 0.25)))


def shape_at(shape: tuple[int, ...], step: float) -> tuple[int, ...]:
    """How many places there are along each side, so many voxels apart."""
    return tuple(max(2, int((side - 1) / step + 1e-6) + 1) for side in shape)


def _resampled(volume: Volume, step: float) -> Volume:
    """Cubic splines through the voxels; before they become fewer, what the new grid cannot hold is blurred away."""
    smooth = gaussian_filter(volume, 0.4 * step) if step > 1 else volume
    if step == 1:
        return smooth
    found: Volume = affine_transform(smooth, [step] * 3, output_shape=shape_at(volume.shape, step), order=3)
    return found


def _packed(scene: Scene) -> dict[str, Any]:
    """The scene as JSON; maps are whole numbers in base64, little-endian, x fastest."""
    packed: dict[str, Any] = {"map": _whole(scene.values, scene.step_angst, 16), "plain": _PLAIN, "colour": None}
    if scene.local_angst is not None:
        local = _whole(scene.local_angst, 2 * scene.step_angst, 8, scene.limits_angst)
        packed["colour"] = local | {"colours": [colour for _, colour in scene.parts] or _colours()}
    return packed


def _whole(volume: Volume, step_angst: float, bits: int, limits: tuple[float, float] | None = None) -> dict[str, Any]:
    low, high = limits or (float(volume.min()), float(volume.max()))
    most = 2**bits - 1
    scaled = np.clip((volume - low) / max(high - low, 1e-30), 0, 1) * most
    whole = np.round(scaled).astype("<u2" if bits == 16 else "u1")
    return {
        "side": list(volume.shape[::-1]), "step_angst": step_angst, "low": low, "high": high, "most": most,
        "bits": bits, "values": base64.b64encode(whole.tobytes()).decode(),
    }  # fmt: skip
