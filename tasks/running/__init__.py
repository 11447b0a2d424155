"""Run stages: DVC, git, processes, locks and the settings of a run."""
