"""Training: losses, steps and loops, populations of trainings, and the selection of trained networks."""
