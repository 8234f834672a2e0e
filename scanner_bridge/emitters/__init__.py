"""A live export made again from a recorded one, so that nobody needs a scanner: the sending side of every way in.

disturbance  what goes wrong on the way, by seed: lost, doubled, late, out of order
rehearsal    hands things over when a scanner would
afni         as Dimon sends
pyneal       as Pyneal's scanner side sends
vsend        as a scanner sends to MURFI
connecting   a TCP connection to a receiver that may not be there yet
"""
