"""Members of sweeps: read from a sweep file, trained in chunks by one compiled program each, and stored on disk."""
