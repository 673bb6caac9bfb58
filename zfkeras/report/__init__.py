"""Drawing: the only place where results become pictures and pages."""
