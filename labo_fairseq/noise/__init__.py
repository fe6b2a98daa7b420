"""Label noise: theory, transition matrices, estimates (Chen et al. 2020)."""
