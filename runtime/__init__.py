"""The log, the worker and the agents. Knows no HTTP server and no protocol of a client."""

__product__ = "hocket"
