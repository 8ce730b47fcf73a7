"""The run page: one static shell for every run, and the modules that draw a run from its events."""
