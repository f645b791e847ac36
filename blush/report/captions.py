"""What the figures of a refinement's page say under themselves: what is drawn, its units, and what it is not."""

from __future__ import annotations

import numpy as np

from blush.fourier.limits import limit_note
from blush.report import tables
from blush.report.run_data import RunData

SLICES = (
    "central slices and projections (sums) along z, y and x; density in arbitrary units, grey from its 1st percentile "
    "(black) to its 99.8th (white). Orange: outline of the solvent mask, at 1/2."
)
LOCAL_RESOLUTION = (
    "Resolution by place in Å, inside the mask: where the corrected FSC of a soft sphere, of 12.5 Å radius and 25 Å "
    "edge, crosses 0.143, read between its few shells. The resolution above is that of the whole map, read at its last "
    "shell, so places may be better and worse than it; none can be better than the pixels."
)
STEPS = (
    "Central slices of the references that the next iteration compares images with, mean of both halves; density in "
    "arbitrary units, each slice from its 1st percentile (black) to its 99.8th (white)."
)
ITERATION_FSC = (
    "The FSC (no unit) that drove each iteration, over resolution in Å, from pale to dark; orange: the one that is "
    "chosen. The resolution of an "
    "iteration is its last shell above 0.5, or above 0.143 in the last one, which joins the halves."
)
CONVERGENCE = (
    "Left: resolution in Å by the driving FSC (0.5 between the halves; 0.143 in the last iteration, which joins them). "
    "Middle, in degrees: how far orientations moved in an iteration; expected accuracy, the turn that the noise still "
    "lets one tell; step of the grid. Right: probability of the best pose, 0 to 1, mean over images."
)
ORIENTATIONS = (
    "Viewing directions after the last iteration, one asymmetric unit, in an equal-area map of the sphere: rot runs "
    "across, tilt down from 0° at the top, in degrees. Colour: particles in each cell."
)
PARTICLES = (
    "Left: probability of each particle's best pose, 0 to 1. Middle: how many poses (orientations times offsets) were "
    "kept as possible. Right: offsets of particles from the centres of their boxes in Å; darker is more particles."
)
REGULARISER = (
    "Over resolution in Å, without unit: what the references of the next alignment keep of the amplitudes of the "
    "unregularised halves (1 is all), and the FSC between the halves before and after. Weighting directions by how "
    "well they were seen changes the FSC a little; a regulariser that raises it beyond its cut-off gives both halves "
    "something that the particles did not. Shells that it empties hold only what the borders of the map leak into "
    "them, and both halves share that."
)
CERTIFICATE = (
    "Whether what the network made of the half-maps can be right, told without a truth. Against a Wiener filter: how "
    "much it changes, over what that filter can be wrong by (at most 1), and its squared error, estimated from what "
    "comes out again of a little noise that was added to one half (at most 1.05); and it may hold nothing beyond the "
    "measured resolution. Ratios, without unit. A failure is a reason to refine again with the Wiener filter."
)
COURSE = (
    "How far the references went in each iteration, in Å: cut behind the measured resolution (trailing), or handed "
    "over to the Wiener filter where the method itself ends (cross-over)."
)


def final_fsc(run: RunData) -> str:
    """Which curves are drawn, by which rule the resolution is read, and what limits it."""
    text = (
        "Fourier shell correlation (no unit) of the two half-maps, refined apart, over resolution in Å. Masked: inside "
        "the solvent mask; phases randomised: what the mask alone makes agree; corrected: what is left of the "
        "first without the second. "
        "The resolution is that of the last shell before the corrected curve first falls below 0.143 (dotted), or "
        "of the unmasked curve where that is better."
    )
    if run.truth:
        text += " With the truth: the final map against the map that the data were simulated from; 0.5 is its limit."
    return f"{text} {_limit(run)}".strip()


def guinier(run: RunData) -> str:
    """What is drawn, in which range the line was fitted, and what came of it."""
    text = (
        "Natural logarithm of the mean amplitude of each shell (arbitrary units) over 1/d² in Å⁻²; a straight line is "
        "the decay that sharpening undoes."
    )
    general = run.postprocess.get("general")
    if general is None:
        return text
    bfactor = f"{_number(general['rlnBfactorUsedForSharpening']):.0f} Å²".replace("-", "−")
    return f"{text} B-factor {bfactor}: {tables.bfactor_source(general)}."


def _limit(run: RunData) -> str:
    """What limits the resolution that was found, in a sentence; nothing before there is one."""
    general, last = run.postprocess.get("general"), run.last
    if general is None or last is None:
        return ""
    found = _number(general["rlnFinalResolution"])
    if note := limit_note(found, last.facts.box_px, last.facts.pixel_size_angst):
        return f"Here it never falls: the resolution is {note}, and smaller pixels may show more."
    return f"Here that is {tables.angst(found)}: the signal ends there, not the pixels."


def _number(value: object) -> float:
    return float(np.ravel(np.asarray(value))[0])
