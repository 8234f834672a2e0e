"""A visit: one person's time in the scanner, as a plan of runs that is walked through."""
