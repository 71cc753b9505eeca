"""The shared trunk, the private heads, and how a partner trains them on its own data."""
