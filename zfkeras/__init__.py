"""See what a Keras convnet has learned, after Zeiler & Fergus (arXiv 1311.2901).

The public names stand in `__init__.pyi`, with their types for editors and checkers. They are
loaded on first use: ``zfkeras --help`` answers before TensorFlow, which takes seconds, is imported.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
