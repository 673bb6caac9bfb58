"""Modules whose optional dependency is absent have no doctests to run."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("apache_beam") else ["zfkeras/analysis/beam.py"]
