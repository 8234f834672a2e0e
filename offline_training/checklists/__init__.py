"""Reporting checklists, filled from what a session or visit recorded; what no program knows stays a question."""
