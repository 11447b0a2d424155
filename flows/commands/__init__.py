"""The commands of ``hsipipe``, by what they are for; what they do is elsewhere."""
