"""Music made while it plays: everything here implements `realtime.ports.Generator`, or is a part of what does."""
