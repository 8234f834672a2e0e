"""Addresses of this machine that nobody holds now."""

from realtime.broker import free_port


def free_endpoint() -> str:
    return f"tcp://127.0.0.1:{free_port()}"
