"""What an experiment is made of: designs, feedback, arms, their sealed allocation, and the plan of a session."""
