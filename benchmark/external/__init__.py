"""Runs from the answers of models that this suite did not train."""
