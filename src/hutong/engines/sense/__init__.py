"""Live sensing: typed entities, history, thresholds and alerts."""
