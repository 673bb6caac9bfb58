"""Projection of single units within their receptive fields: exact, and many times as fast."""

from zfkeras.deconvnet.local.patches import cut_patches
from zfkeras.deconvnet.local.units import UnitProjections, iterate_units, project_units

__all__ = ["UnitProjections", "cut_patches", "iterate_units", "project_units"]
