"""Everything a decoder is judged by, from its predictions to the figures of a report."""
