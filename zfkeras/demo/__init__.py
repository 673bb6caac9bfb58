"""The whole job on one machine, offline: train → look → occlude → serve → page."""

from zfkeras.demo.budget import Budget
from zfkeras.demo.job import run

__all__ = ["Budget", "run"]
