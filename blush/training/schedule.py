"""What each step of a training does: size of patches, learning rate, recursion. Functions of the step alone."""

from __future__ import annotations

import math

import numpy as np

from blush.config.training import Fit, Stage

RECURSION_STREAM = 7_919


def stage_at(fit: Fit, step: int) -> Stage:
    """The stage that a step belongs to."""
    end = 0.0
    for stage in fit.stages:
        end += stage.share
        if step < round(end * fit.steps):
            return stage
    return fit.stages[-1]


def learning_rate(fit: Fit, step: int) -> float:
    """Linear rise, then a cosine to the last rate."""
    rise = min(1.0, (step + 1) / (fit.warmup_steps + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / fit.steps)))
    return rise * (fit.last_learning_rate + (fit.learning_rate - fit.last_learning_rate) * fall)


def recursions(fit: Fit, seed: int, step: int) -> int:
    """How often the input of a step goes through the network before the pass that learns."""
    if step < fit.recursion_from * fit.steps:
        return 0
    random = np.random.default_rng([seed, step, RECURSION_STREAM])
    return int(random.choice(len(fit.recursion), p=np.array(fit.recursion) / sum(fit.recursion)))


def ema_decay(fit: Fit, step: int) -> float:
    """Memory of the averaged weights, shorter in the beginning."""
    return min(fit.ema, (step + 1) / (step + 20))
