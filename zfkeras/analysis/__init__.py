"""The analyses of the paper: functions of (model, images) that return arrays."""
