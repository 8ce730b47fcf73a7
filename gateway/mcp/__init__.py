"""Runs as tools of the Model Context Protocol: one table, served whole and in the parts that other systems know."""
