"""Training of what generates music live: read-outs for the director, the token model, and their report."""
