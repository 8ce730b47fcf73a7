"""What a run is, as pure functions of its log: no I/O, no clock, no randomness, no environment."""

__product__ = "hocket"
