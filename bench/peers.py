"""Other programs doing the same job: ThingsBoard's gateway and modpoll, each from the package index.

Each is installed into a virtual environment of its own, kept between runs. They speak MQTT without TLS here,
which favours them: modpoll has no client certificates, and TLS would only add to both.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from peer_venv import find_peer_python

from demo.mosquitto import find_mosquitto
from demo.processes import Process, accepts_connections, free_port, wait_until
from protocol.library import default_points, get_profile
from protocol.profile import Order, Point, Table
from protocol.site.read_plan import ReadRequest, plan_reads
from protocol.site_config import BusConfig, SiteConfig

PEERS = ("thingsboard-gateway", "modpoll")
_THINGSBOARD_CALLS = "v1/devices/me/rpc"
_ALSO = {"thingsboard-gateway": ["pymodbus==3.9.2", "pyserial-asyncio", "pyserial"]}
"""What the gateway would fetch for itself at its first start, where no package index may be near."""


class PeerUnavailable(Exception):
    """A peer cannot be installed or run here; the message says why."""


@dataclass(frozen=True, slots=True)
class JobMeter:
    """One meter, and what is read of it."""

    id: str
    unit_id: int
    points: tuple[Point, ...]
    requests: tuple[ReadRequest, ...]
    """As our agent would ask."""
    is_little: bool
    """Whether the low word of a number comes first."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a peer shall do: read these meters behind one address, and publish to this broker."""

    bus: BusConfig
    meters: tuple[JobMeter, ...]
    period_s: float
    broker_host: str
    broker_port: int


def make_job(site: SiteConfig, *, period_s: float, broker_host: str, broker_port: int) -> Job:
    """Write down the meters of a site's only bus, with the points that our agent reads.

    Raises: PeerUnavailable.
    """
    profiles = {profile.id: profile for profile in site.profiles}
    bus = site.buses[0]
    meters = []
    for meter in bus.meters:
        profile = profiles.get(meter.profile) or get_profile(meter.profile)
        points = tuple(map(profile.get_point, meter.points)) if meter.points else default_points(profile)
        if profile.modbus is None:
            raise PeerUnavailable(f"{profile.id} is no profile of a Modbus meter")
        requests = plan_reads(points, profile.modbus, meter.unit_id)
        is_little = profile.modbus.word_order is Order.LITTLE
        meters.append(JobMeter(meter.id, meter.unit_id, points, requests, is_little))
    return Job(bus, tuple(meters), period_s, broker_host, broker_port)


def install(package: str) -> Path:
    """Return the directory of a peer's programs, installed when it is not there yet.

    Raises: PeerUnavailable.
    """
    python = find_peer_python(package, package, *_ALSO.get(package, []))
    if python is None:
        raise PeerUnavailable(f"{package} cannot be installed")
    return python.parent


def peer_process(name: str, job: Job, directory: Path, *, inside: Sequence[str] = ()) -> Process:
    """Describe the process of a peer that does a job; `inside` is a command to run it with, such as a namespace's.

    Raises: PeerUnavailable.
    """
    programs = install(name)
    directory.mkdir(parents=True, exist_ok=True)
    make = {"thingsboard-gateway": _thingsboard, "modpoll": _modpoll}[name]
    argv, env = make(programs, job, directory)
    return Process(name, [*inside, *argv], log_file=directory / "log", env=env, cwd=directory)


class PlainBroker:
    """A Mosquitto that lets everybody in, without encryption, at one address. Use as a context manager.

    It also says the one thing that ThingsBoard's gateway waits for from ThingsBoard: that there are no limits.
    """

    def __init__(self, directory: Path, host: str) -> None:
        """Describe it."""
        directory.mkdir(parents=True, exist_ok=True)
        self.host, self.port = host, free_port()
        configuration = directory / "mosquitto.conf"
        configuration.write_text(
            f"listener {self.port} {host}\nallow_anonymous true\npersistence false\nuser root\n", encoding="utf-8"
        )
        self._process = Process("plain-broker", [find_mosquitto(), "-c", configuration], log_file=directory / "log")
        self._thingsboard = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._thingsboard.on_connect = lambda client, *_: client.subscribe(f"{_THINGSBOARD_CALLS}/request/+", qos=1)
        self._thingsboard.on_message = _name_limits

    def __enter__(self) -> Self:
        self._process.start()
        wait_until(lambda: accepts_connections(self.port, self.host), 20, "Mosquitto to accept connections")
        self._thingsboard.connect(self.host, self.port)
        self._thingsboard.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thingsboard.disconnect()
        self._thingsboard.loop_stop()
        self._process.stop()


def _name_limits(client: mqtt.Client, _userdata: object, asked: mqtt.MQTTMessage) -> None:
    limits = {"rateLimits": {}, "maxPayloadSize": 65_536}
    client.publish(asked.topic.replace("/request/", "/response/"), json.dumps(limits))


def _modpoll(programs: Path, job: Job, directory: Path) -> tuple[list[str], dict[str, str]]:
    configuration = directory / "meters.csv"
    with configuration.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        for meter in job.meters:
            rows.writerow(["device", meter.id, meter.unit_id, "", ""])
            for request in meter.requests:
                order = "BE_LE" if meter.is_little else "BE_BE"
                table = "input_register" if request.table is Table.INPUT_REGISTER else "holding_register"
                rows.writerow(["poll", table, request.address, request.count, order])
                for point in (planned.point for planned in request.points):
                    rows.writerow(["ref", point.name, point.address, point.type.value, "r", "", float(point.scale)])
    argv = [
        programs / "modpoll",
        "--daemon",
        *("--config", configuration, "--rate", job.period_s, "--interval", 0),
        *("--tcp", job.bus.host, "--tcp-port", job.bus.port),
        *("--mqtt-host", job.broker_host, "--mqtt-port", job.broker_port, "--mqtt-qos", 1),
        *("--mqtt-version", "5.0"),  # its way to connect with 3.1.1 does not work with the MQTT library it installs
        *("--mqtt-clientid", "modpoll", "--timestamp", "--loglevel", "INFO"),
    ]
    return [str(part) for part in argv], {}


_THINGSBOARD_TYPES = {
    "uint16": "16uint",
    "int16": "16int",
    "uint32": "32uint",
    "int32": "32int",
    "uint64": "64uint",
    "int64": "64int",
    "float32": "32float",
    "float64": "64float",
}


def _thingsboard(programs: Path, job: Job, directory: Path) -> tuple[list[str], dict[str, str]]:
    connector = {"type": "modbus", "name": "Modbus", "configuration": "modbus.json"}
    gateway: dict[str, Any] = {
        "thingsboard": {
            "host": job.broker_host,
            "port": job.broker_port,
            "remoteShell": False,
            "remoteConfiguration": False,
            "statistics": {"enable": False},
            "checkConnectorsConfigurationInSeconds": 60,
            "maxPayloadSizeBytes": 8196,
            "minPackSendDelayMS": 50,
            "minPackSizeToSend": 500,
            "reportStrategy": {"type": "ON_RECEIVED"},
            "qos": 1,
            "security": {"type": "accessToken", "accessToken": "peer"},
        },
        "storage": {"type": "sqlite", "data_file_path": f"{directory / 'data'}/", "messages_ttl_in_days": 7},
        "grpc": {"enabled": False},
        "connectors": [connector],
    }
    (directory / "data").mkdir(exist_ok=True)
    slaves = [_thingsboard_slave(job, meter) for meter in job.meters]
    _write_json(directory / "tb_gateway.json", gateway)
    _write_json(directory / "modbus.json", {"master": {"slaves": slaves}})
    _write_json(directory / "logs.json", _THINGSBOARD_LOGS)
    return [str(programs / "thingsboard-gateway")], {"TB_GW_CONFIG_DIR": str(directory)}


def _thingsboard_slave(job: Job, meter: JobMeter) -> dict[str, Any]:
    return {
        "host": job.bus.host,
        "port": job.bus.port,
        "type": "tcp",
        "method": "socket",
        "unitId": meter.unit_id,
        "deviceName": meter.id,
        "deviceType": "meter",
        "timeout": 3,
        "byteOrder": "BIG",
        "wordOrder": "LITTLE" if meter.is_little else "BIG",
        "retries": 1,
        "pollPeriod": round(job.period_s * 1000),
        "attributes": [],
        "timeseries": [
            {
                "tag": point.name,
                "type": _THINGSBOARD_TYPES.get(point.type.value, "16uint"),
                "functionCode": 4 if point.table is Table.INPUT_REGISTER else 3,
                "objectsCount": point.words,
                "address": point.address,
                "multiplier": float(point.scale),
            }
            for point in meter.points
        ],
        "attributeUpdates": [],
        "rpc": [],
    }


_THINGSBOARD_LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stdout"}},
    "root": {"level": "WARNING", "handlers": ["stdout"]},
    "loggers": {},
}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
