"""A run at a terminal: read from a gateway, drawn, and its questions asked and answered line by line."""
