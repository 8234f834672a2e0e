"""What others hear of a session: a door for tasks, Pyneal's and AFNI's ways, Lab Streaming Layer; not in the live path.

All of it lives in one process (`innerear outlets`) that follows the bus, and so tells nothing that the bus does not.
"""
