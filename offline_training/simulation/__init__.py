"""A simulated subject in a simulated scanner, written as a BIDS dataset."""
