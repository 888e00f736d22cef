"""Passes over rows or pairs of them, and the algebra of their sums."""
