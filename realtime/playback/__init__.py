"""Sound: the mix, the safety chain, the sinks, and the process that they live in."""
