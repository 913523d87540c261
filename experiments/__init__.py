"""Commands of the study: each is run as `python -m experiments.NAME` from the checkout."""
