"""Projection of single units within their receptive fields: exact, and many times as fast."""

from zfkeras.deconvnet.local.patches import cut_patches
from zfkeras.deconvnet.local.units import UnitProjections

__all__ = ["UnitProjections", "cut_patches"]
