"""Features to an embedding, evidence over a trial, and a posterior over clips."""
