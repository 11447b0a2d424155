"""The commands of ``hsipipe``, one file per group."""
