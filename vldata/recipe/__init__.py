"""Recipes: what a user writes, loaded into typed, frozen sections with every problem found at once."""
