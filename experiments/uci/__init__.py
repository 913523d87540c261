"""One configuration on many tables and their splits, beside what others have published."""
