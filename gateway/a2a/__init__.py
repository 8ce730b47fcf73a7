"""The A2A face: every agent behind hocket as an A2A 1.0 server, and a 0.3 one for those who still ask for it."""
