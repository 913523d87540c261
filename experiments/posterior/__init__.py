"""Posteriors p(theta|x): the parameters of a simulation, given what was observed."""
