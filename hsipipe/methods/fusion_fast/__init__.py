"""fusion-fast, and its start as a method without training."""
