"""Ways in: what brings values from files, recordings and simulations to the engines, through their ports."""
