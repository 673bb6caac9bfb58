"""Data: pictures from folders, TFDS, arrays or thin air, and the papers' preprocessing."""
