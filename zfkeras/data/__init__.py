"""Input pipelines: where images come from and how they are preprocessed."""
