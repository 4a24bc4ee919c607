"""A second implementation against the real binary: grpcio with generated stubs, and grpcurl by reflection.

Starts a mesh of its own on free ports, and ends it by its pid.
"""
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[3]
HASH = "cdd01ef066bc6cf2"
HEADER = (("x-constitutional-hash", HASH),)


def generate(folder):
    """Stubs from the contract, as a user would make them."""
    files = [str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto" / "acgs").rglob("*.proto")]
    files += ["google/api/http.proto", "google/api/annotations.proto", "inference/grpc_predict_v2.proto"]
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(arguments + files) == 0, "stubs"
    sys.path.insert(0, str(folder))


def start(folder):
    """The binary that `cargo build` left."""
    command = [str(ROOT / "target" / "debug" / "acgs"), "serve", "all", "--json", "--set", f"home.folder={folder}/events"]
    for service in ("quality", "drift", "performance", "orchestrator", "gateway"):
        command += ["--set", f"listen.{service}=0"]
    mesh = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return mesh, json.loads(mesh.stdout.readline())


def expect(code, call):
    """The call is refused with this code; returns its details."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), error.details())
        return error.details()
    raise AssertionError(f"not refused with {code}")


def check_hash(addresses):
    from acgs.constitution.v1 import constitution_pb2 as messages
    from acgs.constitution.v1 import constitution_pb2_grpc as services

    for address in addresses.values():
        with grpc.insecure_channel(address) as channel:
            stub = services.ConstitutionServiceStub(channel)
            request = messages.GetConstitutionRequest()
            expect(grpc.StatusCode.INVALID_ARGUMENT, lambda: stub.GetConstitution(request))
            wrong = (("x-constitutional-hash", "0" * 16),)
            expect(grpc.StatusCode.PERMISSION_DENIED, lambda: stub.GetConstitution(request, metadata=wrong))
            answer, call = stub.GetConstitution.with_call(request, metadata=HEADER)
            assert answer.accepted == [HASH]
            assert ("x-constitutional-hash", HASH) in [(key, value) for key, value in call.initial_metadata()]
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING


def check_assess(address):
    from acgs.quality.v1 import quality_pb2 as messages
    from acgs.quality.v1 import quality_pb2_grpc as services
    from google.protobuf import struct_pb2

    rows = []
    for row in range(50):
        record = struct_pb2.Struct()
        record.update({"price": row / 3, "city": "lga", "sold": row % 2 == 0})
        rows.append(record)
    with grpc.insecure_channel(address) as channel:
        stub = services.QualityServiceStub(channel)
        answer = stub.Assess(messages.AssessRequest(data=rows, service_id="python"), metadata=HEADER)
        assert answer.overall_score > 0.99 and answer.report.row_count == 50, answer
        details = expect(grpc.StatusCode.INVALID_ARGUMENT, lambda: stub.Assess(messages.AssessRequest(), metadata=HEADER))
        assert details.startswith("data:"), details


def check_stream(address):
    """Batches, labels that come late, and revised reports."""
    from acgs.common.v1 import common_pb2 as common
    from acgs.orchestrator.v1 import orchestrator_pb2 as messages
    from acgs.orchestrator.v1 import orchestrator_pb2_grpc as services

    def field(name, kind, role):
        return common.Field(name=name, kind=kind, role=role)

    schema = common.Schema(fields=[
        field("ts", common.FIELD_KIND_TIMESTAMP, common.FIELD_ROLE_TIMESTAMP),
        field("id", common.FIELD_KIND_INT64, common.FIELD_ROLE_ID),
        field("score", common.FIELD_KIND_DOUBLE, common.FIELD_ROLE_SCORE),
    ])
    label_schema = common.Schema(fields=[
        field("id", common.FIELD_KIND_INT64, common.FIELD_ROLE_ID),
        field("late", common.FIELD_KIND_BOOLEAN, common.FIELD_ROLE_LABEL),
    ])
    window = messages.WindowSpec(tumbling=messages.TumblingWindow(size_ms=1000), out_of_orderness_ms=0)

    def requests():
        yield messages.StreamWindowsRequest(open=messages.Open(
            stream_id="python", schema=schema, label_schema=label_schema, window=window))
        for number in range(5):
            ids = list(range(number * 100, number * 100 + 100))
            rows = common.RecordBatch(row_count=100, columns=[
                common.Column(integers=[identity * 10 for identity in ids]),
                common.Column(integers=ids),
                common.Column(doubles=[identity % 10 / 10 for identity in ids]),
            ])
            yield messages.StreamWindowsRequest(rows=messages.Rows(seq=2 * number + 1, batch=rows))
            behind = [identity - 100 for identity in ids] if number else []
            labels = behind if number else [10_000]
            bits = bytearray((len(labels) + 7) // 8)
            for place, identity in enumerate(labels):
                bits[place // 8] |= (identity % 10 >= 5) << (place % 8)
            batch = common.RecordBatch(row_count=len(labels), columns=[
                common.Column(integers=labels), common.Column(booleans=bytes(bits))])
            yield messages.StreamWindowsRequest(labels=messages.Labels(seq=2 * number + 2, batch=batch))
        yield messages.StreamWindowsRequest(end=messages.End())

    last, closed = {}, None
    with grpc.insecure_channel(address) as channel:
        for answer in services.OrchestratorServiceStub(channel).StreamWindows(requests(), metadata=HEADER):
            if answer.HasField("report"):
                last[answer.report.window.start_ms] = answer.report
            elif answer.HasField("closed"):
                closed = answer.closed
    assert sorted(last) == [0, 1000, 2000, 3000, 4000], sorted(last)
    counts = [last[start].performance.labelled_count for start in sorted(last)]
    assert counts == [100, 100, 100, 100, 0], counts
    assert last[0].revision >= 1 and abs(last[0].performance.auc.value - 1.0) < 1e-9, last[0].performance
    assert closed.accepted_rows == 500 and closed.dropped.labels_expired == 1, closed


def check_examples(addresses):
    """What README shows, run."""
    path = os.pathsep.join(sys.path[:1])
    environment = {**os.environ, "PYTHONPATH": path}
    example = [sys.executable, str(ROOT / "clients/python/examples/stream.py"), addresses["orchestrator"]]
    output = subprocess.run(example, env=environment, capture_output=True, text=True, check=True).stdout
    assert output.count("rows 1000") == 6, output


def blocks(language):
    """Code of README by language."""
    parts = (ROOT / "README.md").read_text().split("```")[1::2]
    return [part.partition("\n")[2] for part in parts if part.partition("\n")[0] == language]


def check_readme(addresses):
    """README's Python is the example's, and its grpcurl call answers."""
    example = {line.strip() for line in (ROOT / "clients/python/examples/stream.py").read_text().splitlines()}
    python = blocks("python")[0].splitlines()
    assert all(line.strip() in example for line in python), [line for line in python if line.strip() not in example]
    curl = next(block for block in blocks("") if block.startswith("curl"))
    _, _, header, url, _, body = shlex.split(curl.replace("\\\n", " "))
    url = url.replace("127.0.0.1:8010", addresses["quality"])
    request = urllib.request.Request(url, body.encode(), dict([header.split(": ")]))
    with urllib.request.urlopen(request) as answer:
        answer = json.load(answer)
    assert answer["constitutional_hash"] == HASH and answer["missing_value_rate"] == 0.5, answer
    call = next(block for block in blocks("") if block.startswith("grpcurl"))
    call = call.replace("grpcurl ", os.environ["GRPCURL"] + " ", 1).replace("127.0.0.1:8010", addresses["quality"])
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True)
    assert done.returncode == 0 and '"overallScore"' in done.stdout, done.stderr


def check_readme_gateway(addresses):
    """README's commands about a model behind the gateway; nobody waits for the end of what nobody answers."""
    from acgs.lifecycle.v1 import lifecycle_pb2 as lifecycle
    from acgs.lifecycle.v1 import model_pb2 as model_messages
    from acgs.lifecycle.v1 import model_pb2_grpc as services

    block = next(block for block in blocks("") if block.startswith("acgs model serve"))
    serve, *commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines() if line]
    assert [command[0] for command in commands] == ["routes", "deployments", "deployments"], commands
    to_the_mesh = ["--address", addresses["orchestrator"]]
    acgs = str(ROOT / "target" / "debug" / "acgs")
    with grpc.insecure_channel(addresses["orchestrator"]) as channel:
        models = services.ModelServiceStub(channel)
        models.RegisterModel(model_messages.RegisterModelRequest(model_id="rides"), metadata=HEADER)
        for version, digest in (("v1", "12" * 32), ("v2", "34" * 32)):
            artifact = lifecycle.Artifact(digest=digest, format="elsewhere/1", uri="file")
            models.RegisterVersion(model_messages.RegisterVersionRequest(
                model_id="rides", version=version, artifact=artifact, serving=version == "v1"), metadata=HEADER)
        assert serve[:3] == ["model", "serve", "rides"], serve
        server = subprocess.Popen([acgs, *serve, *to_the_mesh], env=dict(os.environ, LOG_LEVEL="error"))
        routes, start, explain = commands
        run = lambda command: subprocess.run([acgs, *command, *to_the_mesh], capture_output=True, text=True, timeout=60)
        assert run(routes).returncode == 0
        # Nobody answers where it is said to be: it is looked for until a person has seen enough.
        assert "--watch" in start, start
        start = [*(word for word in start if word != "--watch"), "--json"]
        started = run(start)
        assert started.returncode == 0, started.stderr
        number = json.loads(started.stdout)["deployment_id"]
        explained = run([number if word.startswith("deployment-") else word for word in explain])
        assert "better on Mondays" in explained.stdout, explained
        assert run(["deployments", "abort", number, "--why", "the test is over"]).returncode == 0
        assert server.poll() is None, "it serves whatever the mesh wants, also when that is nothing of ours"
        server.terminate()
        assert server.wait(timeout=20) == 0


def check_grpcurl(addresses):
    grpcurl = os.environ["GRPCURL"]

    def call(*arguments):
        done = subprocess.run([grpcurl, "-plaintext", *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    code, output = call(addresses["quality"], "list")
    assert code == 0 and "acgs.quality.v1.QualityService" in output, output
    code, output = call(addresses["drift"], "describe", "acgs.drift.v1.DriftService")
    assert code == 0 and "rpc PutReference" in output, output
    data = json.dumps({"data": [{"price": 1.5, "city": "lga"}, {"price": None, "city": "jfk"}]})
    header = f"x-constitutional-hash: {HASH}"
    code, output = call("-H", header, "-d", data, addresses["quality"], "acgs.quality.v1.QualityService/Assess")
    assert code == 0 and '"missingValueRate": 0.25' in output, output
    code, output = call("-d", data, addresses["quality"], "acgs.quality.v1.QualityService/Assess")
    assert code != 0 and "x-constitutional-hash" in output, output


POLICY = """
[triggers.manual]
mode = "auto"
[training]
trainer = "sklearn-logistic"
window_ms = 600000
holdout_ms = 60000
rows_min = 100
refit = true
[training.hyperparameters]
C = "0.5"
[gates]
margin = 0.5
rows_min = 20
"""


def check_trainer(address):
    """A model is retrained by scikit-learn: recorded, asked for, trained, judged, in service."""
    from acgs.common.v1 import common_pb2 as common
    from acgs.lifecycle.v1 import lifecycle_pb2 as lifecycle
    from acgs.lifecycle.v1 import job_pb2 as job_messages
    from acgs.lifecycle.v1 import job_pb2_grpc as job_services
    from acgs.lifecycle.v1 import model_pb2 as model_messages
    from acgs.lifecycle.v1 import model_pb2_grpc as model_services
    from acgs.orchestrator.v1 import orchestrator_pb2 as messages
    from acgs.orchestrator.v1 import orchestrator_pb2_grpc as services

    def field(name, kind, role):
        return common.Field(name=name, kind=getattr(common, f"FIELD_KIND_{kind}"), role=getattr(common, f"FIELD_ROLE_{role}"))

    schema = common.Schema(fields=[
        field("ts", "TIMESTAMP", "TIMESTAMP"), field("id", "INT64", "ID"), field("x", "DOUBLE", "FEATURE"),
        field("city", "STRING", "FEATURE"), field("score", "DOUBLE", "SCORE"), field("y", "BOOLEAN", "LABEL"),
    ])
    rows = 600

    def bits(values):
        packed = bytearray((rows + 7) // 8)
        for place, value in enumerate(values):
            packed[place // 8] |= value << (place % 8)
        return bytes(packed)

    def requests():
        yield messages.StreamWindowsRequest(open=messages.Open(
            stream_id="trained", schema=schema, model_id="sklearn", durability=messages.DURABILITY_LOG,
            window=messages.WindowSpec(tumbling=messages.TumblingWindow(size_ms=600_000))))
        xs = [(row * 37 % 101) / 101 for row in range(rows)]
        batch = common.RecordBatch(row_count=rows, columns=[
            common.Column(integers=[row * 1000 for row in range(rows)]),
            common.Column(integers=list(range(rows))),
            common.Column(doubles=xs, validity=bits([row % 11 != 0 for row in range(rows)])),
            common.Column(codes=[row % 3 for row in range(rows)], dictionary=["lga", "jfk", "ewr"]),
            common.Column(doubles=[0.5] * rows),
            common.Column(booleans=bits([x > 0.6 for x in xs])),
        ])
        yield messages.StreamWindowsRequest(rows=messages.Rows(seq=1, batch=batch))
        yield messages.StreamWindowsRequest(end=messages.End())

    with grpc.insecure_channel(address) as channel:
        models, jobs = model_services.ModelServiceStub(channel), job_services.JobServiceStub(channel)
        models.RegisterModel(model_messages.RegisterModelRequest(model_id="sklearn"), metadata=HEADER)
        document = model_messages.PolicyDocument(toml=POLICY)
        models.PutPolicy(model_messages.PutPolicyRequest(model_id="sklearn", document=document), metadata=HEADER)
        for _ in services.OrchestratorServiceStub(channel).StreamWindows(requests(), metadata=HEADER):
            pass
        asked = jobs.RequestRetraining(job_messages.RequestRetrainingRequest(
            model_id="sklearn", why="a test", event_time_ms=600_000), metadata=HEADER)
        environment = dict(os.environ, PYTHONPATH=sys.path[0])
        example = [sys.executable, str(ROOT / "clients/python/examples/trainer.py"), address, "1"]
        said = subprocess.run(example, env=environment, capture_output=True, text=True, timeout=120)
        assert said.stdout.endswith(f"{asked.job.job_id} trained on 600 records\n"), said
        over = (job_messages.JOB_STATE_SUCCEEDED, job_messages.JOB_STATE_REJECTED)
        deadline = time.monotonic() + 30
        while True:
            job = jobs.GetJob(job_messages.GetJobRequest(job_id=asked.job.job_id), metadata=HEADER).job
            if job.state in over:
                break
            assert time.monotonic() < deadline, job
        assert job.state == job_messages.JOB_STATE_SUCCEEDED, job
        model = models.GetModel(model_messages.GetModelRequest(model_id="sklearn"), metadata=HEADER).model
        assert model.champion == job.version, model
        version = models.GetVersion(model_messages.GetVersionRequest(model_id="sklearn", version=job.version), metadata=HEADER)
        compared = next(gate for gate in version.version.gates if gate.gate == "champion")
        assert compared.measured[0].value < -0.1, compared


def check_inference(addresses):
    """A model server in Python behind the gateway, asked by a client that knows nothing of the mesh."""
    import numpy
    from acgs.lifecycle.v1 import lifecycle_pb2 as lifecycle
    from acgs.lifecycle.v1 import model_pb2 as model_messages
    from acgs.lifecycle.v1 import model_pb2_grpc as model_services
    from inference import grpc_predict_v2_pb2 as inference
    from inference import grpc_predict_v2_pb2_grpc as inference_services

    with grpc.insecure_channel(addresses["orchestrator"]) as channel:
        models = model_services.ModelServiceStub(channel)
        models.RegisterModel(model_messages.RegisterModelRequest(model_id="numpy-sum"), metadata=HEADER)
        artifact = lifecycle.Artifact(digest="ab" * 32, format="numpy", uri="code")
        models.RegisterVersion(model_messages.RegisterVersionRequest(
            model_id="numpy-sum", version="v1", artifact=artifact, serving=True), metadata=HEADER)
    environment = dict(os.environ, PYTHONPATH=sys.path[0])
    example = [sys.executable, str(ROOT / "clients/python/examples/model_server.py"), addresses["orchestrator"], "numpy-sum", "v1"]
    server = subprocess.Popen(example, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert "answers at" in server.stdout.readline()
        sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(addresses["gateway"], options=sizes) as channel:
            stub = inference_services.GRPCInferenceServiceStub(channel)
            assert stub.ServerLive(inference.ServerLiveRequest()).live
            tensor = inference.ModelInferRequest.InferInputTensor

            def ask(values, raw=False, **options):
                request = inference.ModelInferRequest(model_name="numpy-sum", id="q")
                request.inputs.append(tensor(name="x", datatype="FP64", shape=[len(values)]))
                if raw:
                    request.raw_input_contents.append(numpy.asarray(values, "<f8").tobytes())
                else:
                    request.inputs[0].contents.fp64_contents.extend(values)
                return stub.ModelInfer.with_call(request, timeout=20, **options)

            deadline = time.monotonic() + 20
            while True:
                try:
                    answer, call = ask([0.0, 2.0])
                    break
                except grpc.RpcError as error:
                    # The gateway hears of the endpoint, connects, and asks for its health.
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND), error
                    assert time.monotonic() < deadline, error
                    time.sleep(0.02)
            scores = list(answer.outputs[0].contents.fp64_contents)
            assert abs(scores[0] - 0.5) < 1e-9 and abs(scores[1] - 0.880797) < 1e-6, scores
            assert (answer.id, answer.model_version) == ("q", "v1"), answer
            assert ("x-rows", "2") in [tuple(pair) for pair in call.trailing_metadata()], call.trailing_metadata()
            assert ("x-acgs-model-version", "v1") in [tuple(pair) for pair in call.initial_metadata()]
            assert stub.ModelMetadata(inference.ModelMetadataRequest(name="numpy-sum")).platform == "numpy"
            ask([1.0] * 1000, compression=grpc.Compression.Gzip)
            large, _ = ask(numpy.ones(2 << 20), raw=True)
            assert len(large.raw_output_contents[0]) == 16 << 20
            request = inference.ModelInferRequest(model_name="numpy-sum")
            details = expect(grpc.StatusCode.INVALID_ARGUMENT, lambda: stub.ModelInfer(request))
            assert details == "inputs: no tensor of numbers", details
            request = inference.ModelInferRequest(model_name="nobody")
            expect(grpc.StatusCode.NOT_FOUND, lambda: stub.ModelInfer(request))
            wrong = (("x-constitutional-hash", "0" * 16),)
            expect(grpc.StatusCode.PERMISSION_DENIED, lambda: stub.ModelInfer(request, metadata=wrong))
            expect(grpc.StatusCode.PERMISSION_DENIED, lambda: stub.ServerLive(inference.ServerLiveRequest(), metadata=wrong))
            _, call = stub.ServerReady.with_call(inference.ServerReadyRequest(), metadata=HEADER)
            assert ("x-constitutional-hash", HASH) in [tuple(pair) for pair in call.initial_metadata()]
            check_canary(addresses, lambda: ask([0.5, -1.0])[0])
    finally:
        server.terminate()
    assert server.wait(timeout=20) == 0


def check_canary(addresses, ask):
    """From a model server in Python to one in Rust that answers the same, step by step under calls, of which none is lost."""
    import threading

    from acgs.lifecycle.v1 import deployment_pb2 as deployment
    from acgs.lifecycle.v1 import deployment_pb2_grpc as deployment_services
    from acgs.lifecycle.v1 import lifecycle_pb2 as lifecycle
    from acgs.lifecycle.v1 import model_pb2 as model_messages
    from acgs.lifecycle.v1 import model_pb2_grpc as model_services

    feature = {"kind": "number", "name": "x", "mean": 0.0, "deviation": 1.0, "absence": False}
    model = {
        "format": "acgs-linear/1", "family": "logistic", "constitutional_hash": HASH, "data_digest": "", "rows": 1,
        "features": [feature], "intercept": 0.0, "weights": [1.0]}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file, grpc.insecure_channel(addresses["orchestrator"]) as channel:
        json.dump(model, file)
        file.flush()
        models = model_services.ModelServiceStub(channel)
        deployments = deployment_services.DeploymentServiceStub(channel)
        artifact = lifecycle.Artifact(digest="cd" * 32, format="acgs-linear/1", uri="file")
        models.RegisterVersion(
            model_messages.RegisterVersionRequest(model_id="numpy-sum", version="v2", artifact=artifact), metadata=HEADER)
        command = [str(ROOT / "target" / "debug" / "acgs"), "model", "serve", "numpy-sum", "--version", "v2"]
        command += ["--artifact", file.name, "--address", addresses["orchestrator"], "--json", "--set", "listen.host=127.0.0.1"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert json.loads(server.stdout.readline())["version"] == "v2"
            answers, failures, over = [], [], threading.Event()

            def call():
                while not over.is_set():
                    try:
                        answer = ask()
                        answers.append((answer.model_version, tuple(answer.outputs[0].contents.fp64_contents)))
                    except grpc.RpcError as error:
                        failures.append(error)
                    time.sleep(0.005)

            callers = [threading.Thread(target=call) for _ in range(4)]
            [caller.start() for caller in callers]
            try:
                plan = ("steps = [20, 50, 100]\nstep_ms = 300\nsamples_min = 30\nbake_ms = 300\n[analysis]\nerror_block_ms = 50\nblock_ms = 100\n"
                        "errors = { tolerated = 0.05, unacceptable = 0.15 }\n"
                        "tail_p95 = { tolerated = 0.4, unacceptable = 0.8 }\ntail_p99 = { tolerated = 0.4, unacceptable = 0.8 }\n")
                started = deployments.StartDeployment(deployment.StartDeploymentRequest(
                    model_id="numpy-sum", version="v2", strategy=deployment.STRATEGY_CANARY, plan_toml=plan, unjudged=True,
                    why="a server in Rust", actor="run.py"), metadata=HEADER).deployment
                watch = deployment.WatchDeploymentRequest(deployment_id=started.deployment_id)
                seen = [state.deployment for state in deployments.WatchDeployment(watch, metadata=HEADER, timeout=60)]
            finally:
                over.set()
                [caller.join() for caller in callers]
            assert seen[-1].phase == deployment.DEPLOYMENT_PHASE_COMPLETED, seen[-1]
            assert {20, 50, 100} <= {state.weight for state in seen}, [state.weight for state in seen]
            assert not failures, failures[:3]
            by_version = {version: [scores for name, scores in answers if name == version] for version in ("v1", "v2")}
            assert all(len(scores) > 30 for scores in by_version.values()), {v: len(s) for v, s in by_version.items()}
            rust, python = by_version["v2"][0], by_version["v1"][0]
            assert all(abs(one - other) < 1e-12 for one, other in zip(rust, python)), (rust, python)
        finally:
            server.terminate()
        assert server.wait(timeout=20) == 0


def main():
    with tempfile.TemporaryDirectory() as folder:
        stubs = pathlib.Path(folder) / "stubs"
        stubs.mkdir()
        generate(stubs)
        mesh, addresses = start(folder)
        try:
            checks = [
                lambda: check_hash(addresses),
                lambda: check_assess(addresses["quality"]),
                lambda: check_stream(addresses["orchestrator"]),
                lambda: check_examples(addresses),
                lambda: check_trainer(addresses["orchestrator"]),
                lambda: check_inference(addresses),
                lambda: check_readme(addresses),
                lambda: check_readme_gateway(addresses),
                lambda: check_grpcurl(addresses),
            ]
            for check in checks:
                check()
        finally:
            mesh.terminate()
        assert mesh.wait(timeout=30) == 0, "the mesh ends in order"
    print(f"{len(checks) + 1} passed, 0 failed")


if __name__ == "__main__":
    main()
