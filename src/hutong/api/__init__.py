"""HTTP routes. They are handed engines by the composition root and decide nothing themselves."""
