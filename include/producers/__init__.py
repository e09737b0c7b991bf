"""Generators of demo events, and what sends them. The engine knows nothing of them."""
