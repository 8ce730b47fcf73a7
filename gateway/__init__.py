"""HTTP: one door to the engine, spoken in every protocol."""

__product__ = "hocket"
