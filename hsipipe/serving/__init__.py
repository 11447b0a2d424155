"""Serve a model over HTTP to untrusted clients: one cube in, one cube out."""
