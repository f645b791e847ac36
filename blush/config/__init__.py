"""Configuration: models, defaults and their reference."""

from blush.config.run import RunConfig, load_config

__all__ = ["RunConfig", "load_config"]
