"""The atlas: what every feature map of a net looks for, as a site to browse (Fig. 2)."""

from zfkeras.atlas.projecting import Winners
from zfkeras.atlas.writing import write_atlas

__all__ = ["Winners", "write_atlas"]
