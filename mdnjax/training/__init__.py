"""Training: losses, steps and loops, populations of trainings, and what is selected from them."""
