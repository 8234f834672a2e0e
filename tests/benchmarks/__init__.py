"""Speed against peers, measured in the same run; never part of the test suite."""
