"""What an agent is, and the kinds of them."""
