"""The commands of ``hsipipe`` that need no pipeline, one file per group."""
