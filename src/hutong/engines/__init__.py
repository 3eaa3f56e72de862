"""The seven engines. Engines never import one another; they meet through the kernel."""
