"""Sweeps: settings times seeds, trained as a few compiled programs and gathered in one table."""
