"""Quantiles of few rows by programs that compile in a fifth of the time and run more slowly: for scores, figures and pages."""

from mdnjax.compilation import JitOnce
from mdnjax.statistics.quantiles import central_interval, quantile

MAX_NUMBERS = 2**19  # of the arguments: those of 1700 rows of 100 components, which take half a second

quick_interval = JitOnce(central_interval, max_size=MAX_NUMBERS)
quick_quantile = JitOnce(quantile, max_size=MAX_NUMBERS)
