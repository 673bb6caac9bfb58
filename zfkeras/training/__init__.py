"""Training after the papers' recipes, with exact resume; and measuring what came of it."""
