"""The tables of papers as runs of the pipeline: what each holds, what it needs, and its rows beside the paper's."""
