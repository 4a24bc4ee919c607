"""The mesh of processes as its users meet it: compose.yaml's own commands without containers, grpcio, REST, Node, the command line.

Starts every process itself on free ports of loopback, and ends each by its pid.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

from run import HASH, HEADER, ROOT, check_stream, generate

BINARY = ROOT / "target" / "debug" / "acgs"
PORTS = {"gateway": 8014, "orchestrator": 8013, "quality": 8010, "drift": 8011, "performance": 8012}


def held_port():
    """A free port, which nobody else is given while its socket is open."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder


def free_port():
    with held_port() as holder:
        return holder.getsockname()[1]


class Mesh:
    """What compose.yaml says, each service a process; its names are addresses of loopback here."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
        self.services = self.compose["services"]
        # Connections of those that start first must not take the ports of those that start last.
        self.held = {name: held_port() for name in self.services}
        self.addresses = {name: holder.getsockname()[1] for name, holder in self.held.items()}
        self.processes = {}

    def here(self, text):
        """Names and ports inside of the network become addresses on loopback."""
        text = text.replace("nats://nats:4222", f"nats://127.0.0.1:{self.addresses['nats']}")
        for name in self.services:
            for port in PORTS.values():
                text = text.replace(f"{name}:{port}", f"127.0.0.1:{self.addresses[name]}")
        return text

    def start_nats(self):
        config = (ROOT / "deploy" / "nats" / "nats.conf").read_text()
        config = config.replace("4222", str(self.addresses["nats"])).replace("8222", str(free_port()))
        config = config.replace("/data", str(self.folder / "nats"))
        path = self.folder / "nats.conf"
        path.write_text(f"host: 127.0.0.1\n{config}")
        command = [os.environ["NATS_SERVER"], "--config", str(path)]
        self.held["nats"].close()
        self.processes["nats"] = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_for(lambda: socket.create_connection(("127.0.0.1", self.addresses["nats"]), 1).close())

    def start(self, name):
        service = self.services[name]
        role = service["command"][1]
        environment = {key: self.here(str(value)) for key, value in service["environment"].items()}
        # Nothing listens beyond loopback in a test; everything else is as it says.
        assert environment.pop("ACGS_LISTEN__HOST") == "0.0.0.0" and environment["ACGS_LISTEN__INSECURE"] == "true"
        environment[f"ACGS_LISTEN__{role.upper()}"] = str(self.addresses[name])
        # Others reach a service by its name; gateways are not looked for, they follow.
        named = "ACGS_GATEWAY__ID" if role == "gateway" else "ACGS_MESH__ADVERTISE"
        assert environment.pop(named) == name, "a service is reached by its name"
        if role == "gateway":
            kept = environment.pop("ACGS_GATEWAY__SNAPSHOT")
            assert any(kept.startswith(volume.split(":")[1]) for volume in service["volumes"]), kept
            environment.update(ACGS_GATEWAY__ID=name, ACGS_GATEWAY__SNAPSHOT=str(self.folder / f"{name}.binpb"))
        command = [str(BINARY), *service["command"], "--json"]
        log = open(self.folder / f"{name}.log", "w")
        self.held[name].close()
        self.processes[name] = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.processes[name].stdout.readline(), (self.folder / f"{name}.log").read_text()

    def health(self, name):
        """compose.yaml's own health check."""
        test = self.services[name]["healthcheck"]["test"]
        assert test[:3] == ["CMD", "acgs", "probe"], test
        role = test[3]
        setting = f"listen.{role}={self.addresses[name]}"
        return subprocess.run([str(BINARY), "probe", role, "--set", setting], capture_output=True).returncode

    def stop(self):
        for name, process in reversed(self.processes.items()):
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=60)
            assert name == "nats" or code == 0, f"{name} ended with {code}"


def wait_for(try_it, patience=300):
    since = time.monotonic()
    while True:
        try:
            return try_it()
        except (OSError, AssertionError):
            if time.monotonic() - since > patience:
                raise
            time.sleep(0.05)


def acgs(mesh, *arguments):
    orchestrator = f"127.0.0.1:{mesh.addresses['orchestrator']}"
    command = [str(BINARY), *arguments, "--address", orchestrator]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def check_health(mesh):
    for name in mesh.services:
        if name != "nats":
            assert mesh.health(name) == 0, name
    assert mesh.services["orchestrator"]["ports"] == ["127.0.0.1:8013:8013"], "published on loopback only"
    published = [mesh.services[name]["ports"] for name in ("gateway-1", "gateway-2")]
    assert published == [["127.0.0.1:8014:8014"], ["127.0.0.1:8015:8014"]], published


def check_gateways(mesh):
    def followed():
        code, output = acgs(mesh, "routes", "routers", "--json")
        assert code == 0 and {"gateway-1", "gateway-2"} == {json.loads(line)["router_id"] for line in output.splitlines()}, output

    wait_for(followed)


def check_status(mesh):
    def all_there():
        code, output = acgs(mesh, "mesh", "status", "--json")
        assert code == 0 and len(json.loads(output)["parts"]) == 8, output

    wait_for(all_there)
    code, output = acgs(mesh, "services", "--capability", "drift", "--json")
    assert code == 0 and len(output.splitlines()) == 2, output
    code, output = acgs(mesh, "services")
    assert code == 0 and "performance-monitoring-service" in output, output
    nats = ["--set", f"nats.url=nats://127.0.0.1:{mesh.addresses['nats']}"]
    code, output = acgs(mesh, "doctor", *nats)
    assert code == 0 and "nothing is wrong" in output and "NATS answers" in output, output


def check_node(mesh):
    command = [os.environ["NODE"], str(ROOT / "clients/node/stream.js"), f"127.0.0.1:{mesh.addresses['orchestrator']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "accepted 500 windows 5 stamped true", done.stdout
    counts = [line.split(" labelled ")[1].split()[0] for line in lines[:-1]]
    assert counts == ["100", "100", "100", "100", "0"], done.stdout


def check_rest(mesh):
    url = f"http://127.0.0.1:{mesh.addresses['orchestrator']}"

    def call(path, body=None, **headers):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url + path, data=data, headers={"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    data = [{"x": float(row), "city": "lga"} for row in range(100)]
    status, answer = call("/analyze", {"analysis_type": "quality", "data": data, "constitutional_hash": HASH})
    assert status == 200 and answer["quality"]["row_count"] == 100 and answer["services_used"] == ["quality"], answer
    assert answer["constitutional_hash"] == HASH
    assert call("/analyze", {"data": data})[0] == 422
    assert call("/analyze", {"data": data, "constitutional_hash": "0" * 16})[0] == 403
    status, answer = call("/services", **{"x-constitutional-hash": HASH})
    assert status == 200 and answer["total_services"] == 6, answer
    status, answer = call("/health")
    assert status == 200 and answer["registered_services"] == 6, answer
    status, answer = call("/metrics", accept="application/json")
    assert status == 200 and len(answer["service_registry"]) == 6, answer


def check_alerts(mesh):
    """A file whose third hour is empty where it should not be."""
    rows = ["when,x"]
    for hour in range(5):
        for minute in range(60):
            value = "" if hour == 2 else str(minute)
            rows.append(f"2026-01-01T{hour:02}:{minute:02}:00Z,{value}")
    path = mesh.folder / "rides.csv"
    path.write_text("\n".join(rows) + "\n")
    code, output = acgs(mesh, "stream", str(path), "--timestamp", "when", "--window", "1h")
    assert code == 0 and "ALERT" in output and "300 rows in 5 windows" in output, output

    def listed():
        code, output = acgs(mesh, "alerts", "list", "--all", "--json")
        found = [json.loads(line) for line in output.splitlines()]
        assert code == 0 and found, output
        return found

    alert = wait_for(listed)[0]
    assert alert["stream_id"] == "rides.csv", alert
    beginning = alert["alert_id"][:8]
    code, output = acgs(mesh, "alerts", "explain", beginning)
    assert code == 0 and "its bound is" in output, output
    code, output = acgs(mesh, "alerts", "acknowledge", beginning, "--by", "ada", "--note", "seen")
    assert code == 0 and "ada" in output, output
    code, output = acgs(mesh, "alerts", "resolve", beginning, "--by", "ada", "--json")
    assert code == 0 and json.loads(output)["resolved_by"] == "ada", output
    code, output = acgs(mesh, "alerts", "explain", "zz")
    assert code != 0 and "no alert begins" in output, output
    code, output = acgs(mesh, "windows", "--stream", "rides.csv")
    assert code == 0 and output.count("rides.csv") == 5, output


def check_logs(mesh):
    """One JSON object a line."""
    lines = (mesh.folder / "orchestrator.log").read_text().splitlines()
    assert lines and all("level" in json.loads(line) for line in lines), lines[:3]


def check_trouble(mesh):
    """What the doctor says when a judge is gone."""
    for name in ("drift-1", "drift-2"):
        process = mesh.processes.pop(name)
        process.kill()
        process.wait()

    def noticed():
        code, output = acgs(mesh, "doctor")
        assert code == 1 and "no drift judge has registered" in output, output
        code, output = acgs(mesh, "mesh", "status")
        assert code == 1 and "UNAVAILABLE" in output, output

    wait_for(noticed)
    code, output = acgs(mesh, "doctor", "--set", 'constitution.accepted=["0123456789abcdef"]')
    assert code == 1 and "another constitution" in output, output


def main():
    with tempfile.TemporaryDirectory() as folder:
        stubs = pathlib.Path(folder) / "stubs"
        stubs.mkdir()
        generate(stubs)
        mesh = Mesh(folder)
        try:
            mesh.start_nats()
            for name in sorted(mesh.services, key=lambda name: name != "orchestrator"):
                if name != "nats":
                    mesh.start(name)
            orchestrator = f"127.0.0.1:{mesh.addresses['orchestrator']}"
            checks = [
                lambda: check_health(mesh),
                lambda: check_status(mesh),
                lambda: check_gateways(mesh),
                lambda: check_stream(orchestrator),
                lambda: check_node(mesh),
                lambda: check_rest(mesh),
                lambda: check_alerts(mesh),
                lambda: check_logs(mesh),
                lambda: check_trouble(mesh),
            ]
            for check in checks:
                check()
        except BaseException:
            for process in mesh.processes.values():
                process.kill()
            raise
        mesh.stop()
    print(f"{len(checks) + 1} passed, 0 failed")


if __name__ == "__main__":
    main()
