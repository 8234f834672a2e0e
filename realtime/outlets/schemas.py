"""JSON Schemas of all that others read and write: the bus's topics, and what tasks and the door say to each other."""

import json
from pathlib import Path
from typing import Any

from realtime.outlets.door_protocol import FromDoor, FromTask
from realtime.topics import TOPICS, schema


def schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its name."""
    topics = {topic: schema(topic, kind) for topic, kind in TOPICS.items()}
    return {**topics, "door-from-task": schema("door-from-task", FromTask),
            "door-to-task": schema("door-to-task", FromDoor)}


def write_schemas(folder: Path) -> list[Path]:
    """Write NAME.schema.json for each; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in schemas().items():
        path = folder / f"{name}.schema.json"
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written
