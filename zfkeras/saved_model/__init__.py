"""Export to a SavedModel with the signatures `classify`, `deconv` and `occlusion`."""

from zfkeras.saved_model.exporting import export

__all__ = ["export"]
