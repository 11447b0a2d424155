"""Show cubes in a browser: one HTML file that loads nothing, and one PNG at a glance."""
