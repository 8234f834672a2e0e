"""Worker programs for large models: each a process of its own, in an environment of its own if need be."""
