"""The map of the sphere."""

import numpy as np

from blush.report.pose_figures import mollweide


def test_poles_equator_and_edge_are_where_they_belong():
    longitude, latitude = np.array([0.0, 0.0, 180.0, -180.0, 90.0]), np.array([90.0, -90.0, 0.0, 0.0, 0.0])
    x, y = mollweide(longitude, latitude)
    root = np.sqrt(2)
    np.testing.assert_allclose(x, [0, 0, 2 * root, -2 * root, root], atol=1e-9)
    np.testing.assert_allclose(y, [root, -root, 0, 0, 0], atol=1e-9)


def test_equal_areas_stay_equal():
    """The band |sin latitude| < 1/2 is half the sphere, so half the ellipse of area 4 pi."""
    _, y = mollweide(np.array([0.0]), np.array([30.0]))
    theta = np.arcsin(y[0] / np.sqrt(2))
    assert abs((2 * theta + np.sin(2 * theta)) / np.pi - 0.5) < 1e-9
