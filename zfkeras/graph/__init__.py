"""Reading a model: its steps, receptive fields, what it answers, and copies of it."""

from zfkeras.graph.walking import Graph, Step, receptive_field, walk

__all__ = ["Graph", "Step", "receptive_field", "walk"]
