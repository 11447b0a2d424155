"""Experimental protocols: the frame that two results must share, and the metrics that are measured in it."""

from hsipipe.protocols.protocol import (
    PROTOCOLS,
    Protocol,
    check_pins,
    make_protocol,
    protocol_of,
    require_same,
    setup_of,
)

__all__ = ["PROTOCOLS", "Protocol", "check_pins", "make_protocol", "protocol_of", "require_same", "setup_of"]
