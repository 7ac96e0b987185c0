"""Finished runs and the tidy tables over them."""
