"""The run APIs of other systems, each rendered from hocket's one log of a run."""
