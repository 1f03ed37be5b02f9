"""What the agent is measured beside: poll, scale, publish JSON per reading. Nothing is stored, confirmed or retried.

Usage: plain_script.py PLAN.json, as `bench/contenders.py` writes it.
"""

import json
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import ModbusTcpClient

_FORMATS = {
    "uint16": ">H",
    "int16": ">h",
    "uint32": ">I",
    "int32": ">i",
    "uint64": ">Q",
    "int64": ">q",
    "float32": ">f",
    "float64": ">d",
}


def main() -> None:
    """Poll once a second until killed."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    broker = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=plan["client_id"], protocol=mqtt.MQTTv5)
    broker.connect(plan["host"], plan["port"])
    broker.loop_start()
    connections = [ModbusTcpClient(meter["host"], port=meter["port"]) for meter in plan["meters"]]
    while True:
        time.sleep(1 - time.time() % 1)
        for meter, connection in zip(plan["meters"], connections, strict=True):
            for request in meter["requests"]:
                publish_readings(broker, plan["topic"], meter, connection, request)


def publish_readings(
    broker: mqtt.Client, topic: str, meter: dict[str, Any], connection: ModbusTcpClient, request: dict[str, Any]
) -> None:
    """Send one request and publish a message per point."""
    read = connection.read_input_registers if request["is_input"] else connection.read_holding_registers
    reply = read(request["address"], count=request["count"], device_id=request["unit_id"])
    if reply.isError():
        return
    for point in request["points"]:
        words = reply.registers[point["offset"] : point["offset"] + point["words"]]
        value = decode(words, point)
        message = {"meter": meter["id"], "point": point["name"], "value": value, "time": time.time()}
        broker.publish(topic, json.dumps(message))


def decode(words: Sequence[int], point: dict[str, Any]) -> float:
    """Decode one value."""
    if point["is_little"]:
        words = tuple(reversed(words))
    raw = struct.pack(f">{len(words)}H", *words)
    value: float = struct.unpack(_FORMATS[point["type"]], raw)[0] * point["scale"]
    return round(value, 6)


if __name__ == "__main__":
    main()
