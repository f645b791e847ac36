"""Layer lines of maps whose power is known in closed form."""

import numpy as np

from blush.helix.layer_lines import layer_lines

N = 24


def test_a_wave_along_the_axis_is_a_spot_on_the_meridian():
    z = np.arange(N)
    volume = np.broadcast_to(np.cos(2 * np.pi * 5 * z / N)[:, None, None], (N, N, N)).astype(np.float32)
    power = layer_lines(volume)
    assert power.shape == (13, 13)
    np.testing.assert_allclose(power[5, 0], (N**3 / 2) ** 2, rtol=1e-6)
    power[5, 0] = 0
    assert power.max() < 1e-6 * (N**3) ** 2


def test_a_wave_across_the_axis_is_spread_over_its_ring():
    """Two of the coefficients whose rounded frequency across is 7."""
    x = np.arange(N)
    volume = np.broadcast_to(np.cos(2 * np.pi * 7 * x / N), (N, N, N)).astype(np.float32)
    power = layer_lines(volume)
    frequency = np.fft.fftfreq(N, 1 / N)
    ring = np.count_nonzero(np.rint(np.hypot(frequency[:, None], frequency)) == 7)
    np.testing.assert_allclose(power[0, 7], 2 * (N**3 / 2) ** 2 / ring, rtol=1e-6)


def test_a_screw_of_half_a_repeat_has_no_power_on_the_meridian_at_odd_lines():
    """Density cos(q) cos(2 pi 3 z / N) is turned by 180 degrees after half a repeat: Cochran, Crick & Vand 1952."""
    z, y, x = np.indices((N,) * 3) - N // 2
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    volume = np.exp(-((radius - 6) ** 2) / 4) * np.cos(angle) * np.cos(2 * np.pi * 3 * z / N)
    power = layer_lines(volume.astype(np.float32))
    assert power[3, 0] < 1e-6 * power[3].max()
    assert power[3].max() > 1e3 * np.delete(power, 3, 0).max()
