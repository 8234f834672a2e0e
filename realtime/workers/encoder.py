"""Which text encoder it is: a checksum of its weights, so that an adapter goes to the one it was fitted to."""

import hashlib
from typing import Any


def checksum(encoder: Any) -> str:
    """sha256 of a torch module's parameters, name by name, as float32."""
    digest = hashlib.sha256()
    for name, values in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()
