"""Where things are kept. Only the composition root imports it."""
