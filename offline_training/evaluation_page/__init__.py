"""The page that an evaluation becomes. A section is a function of the figures that gives a `Part`, or None."""
