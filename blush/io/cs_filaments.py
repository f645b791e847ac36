"""Filaments in a table of cryoSPARC: which image is of which, and where its filament tracer saw it run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.io.star_parse import Table


def filament_columns(fields: dict[str, NDArray[Any]]) -> Table:
    """Tubes, which are numbered through all micrographs, with their tracks where they were traced.

    `filament_pose` is in radians, of the other sign than rlnAnglePsiPrior; `position_A` counts along the filament.
    """
    if "filament/filament_uid" not in fields:
        return {}
    tube = np.unique(fields["filament/filament_uid"], return_inverse=True)[1].reshape(-1)
    table: Table = {"rlnHelicalTubeID": tube + 1}
    if "filament/position_A" in fields:
        position = fields["filament/position_A"].astype(np.float64)
        begin = np.full(tube.max(initial=-1) + 1, np.inf)
        np.minimum.at(begin, tube, position)
        table["rlnHelicalTrackLengthAngst"] = position - begin[tube]
    if "filament/filament_pose" not in fields:
        return table
    table["rlnAnglePsiPrior"] = -np.degrees(fields["filament/filament_pose"].astype(np.float64))
    if {"location/center_x_frac", "location/center_y_frac", "location/micrograph_shape"} <= fields.keys():
        height, width = fields["location/micrograph_shape"].astype(np.float64).T
        table["rlnCoordinateX"] = fields["location/center_x_frac"].astype(np.float64) * width
        table["rlnCoordinateY"] = fields["location/center_y_frac"].astype(np.float64) * height
    return table
