"""Posteriors of a simulator's parameters, learnt from simulations: priors, networks and particles, draws and their checks."""
