"""The commands of ``hsipipe`` that run or operate the pipeline, one file per group."""
