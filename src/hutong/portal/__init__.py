"""Server-rendered pages. They are handed the engines; whatever is decided, the engines decide."""
