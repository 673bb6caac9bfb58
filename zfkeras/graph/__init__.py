"""Reading a model: its steps, receptive fields, what it answers, and copies of it."""

from zfkeras.graph.receptive_fields import receptive_field
from zfkeras.graph.walking import Graph, Step, walk

__all__ = ["Graph", "Step", "receptive_field", "walk"]
