"""The deconvnet: reverse rules by layer type, whole projections, and exact local ones."""

from zfkeras.deconvnet.net import DeconvNet, Projection

__all__ = ["DeconvNet", "Projection"]
