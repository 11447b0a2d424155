"""Networks that any method may use."""
