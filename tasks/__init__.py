"""The stages of the pipeline: ``python -m tasks <stage>``."""
