"""What people see of a running session; fed by status messages, never in the live path."""
