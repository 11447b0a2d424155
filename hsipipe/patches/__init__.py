"""Cut, store, order and load the patches of training."""
