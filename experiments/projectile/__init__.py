"""Launch angles that make a ball land at a given distance: control learnt through an ODE solver."""
