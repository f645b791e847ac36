"""Blush: cryo-EM single-particle refinement."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("blush-cryoem")
except PackageNotFoundError:  # a clone on the path that was never installed
    __version__ = "0+not.installed"
