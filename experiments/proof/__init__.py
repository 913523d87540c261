"""Compares every public function of a mixture with an independent oracle."""
