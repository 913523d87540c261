"""At which angles to launch something that must hit: control through an ODE."""
