"""Members of sweeps: planned, made from their data, trained in chunks as one program, and kept on disk."""
