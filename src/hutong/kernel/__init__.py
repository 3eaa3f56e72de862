"""The kernel: what every engine stands on. It imports nothing else of Hutong."""
