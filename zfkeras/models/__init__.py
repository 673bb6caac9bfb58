"""Architectures as data, and their weights."""
