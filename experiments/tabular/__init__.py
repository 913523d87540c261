"""Tables: from a file to a predictive distribution, judged beside what is simple."""
