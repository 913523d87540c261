"""Writes the predictions of a saved model for the rows of a file."""
