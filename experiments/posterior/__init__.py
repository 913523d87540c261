"""Posteriors: what parameters a simulation must have had to give what was observed."""
