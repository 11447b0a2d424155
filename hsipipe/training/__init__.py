"""The training loop, and the trainings of methods and autoencoders."""
