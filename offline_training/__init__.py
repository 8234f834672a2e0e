"""Everything that happens before the scan: simulate, read runs, train, evaluate, export, report."""
