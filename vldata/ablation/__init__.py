"""Ablations: one recipe and what to change in it -> named variants, built, trained, compared."""
