"""Streams a minute of made-up predictions and prints what the mesh says of each window."""
import sys

import grpc
from acgs.common.v1 import common_pb2 as common
from acgs.orchestrator.v1 import orchestrator_pb2 as acgs
from acgs.orchestrator.v1 import orchestrator_pb2_grpc as services

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8013"
hash_header = (("x-constitutional-hash", "cdd01ef066bc6cf2"),)
schema = common.Schema(fields=[
    common.Field(name="ts", kind=common.FIELD_KIND_TIMESTAMP, role=common.FIELD_ROLE_TIMESTAMP),
    common.Field(name="price", kind=common.FIELD_KIND_DOUBLE, role=common.FIELD_ROLE_FEATURE),
    common.Field(name="score", kind=common.FIELD_KIND_DOUBLE, role=common.FIELD_ROLE_SCORE),
])


def messages():
    window = acgs.WindowSpec(tumbling=acgs.TumblingWindow(size_ms=10_000))
    yield acgs.StreamWindowsRequest(open=acgs.Open(stream_id="hello", schema=schema, window=window))
    for second in range(60):
        times = [second * 1000 + row * 10 for row in range(100)]
        batch = common.RecordBatch(row_count=100, columns=[
            common.Column(integers=times),
            common.Column(doubles=[time % 97 for time in times]),
            common.Column(doubles=[time % 100 / 100 for time in times]),
        ])
        yield acgs.StreamWindowsRequest(rows=acgs.Rows(seq=second + 1, batch=batch))
    yield acgs.StreamWindowsRequest(end=acgs.End())


with grpc.insecure_channel(address) as channel:
    stub = services.OrchestratorServiceStub(channel)
    for answer in stub.StreamWindows(messages(), metadata=hash_header):
        if answer.HasField("report"):
            window, quality = answer.report.window, answer.report.quality
            print(f"{window.start_ms:>6} .. {window.end_ms:<6} rows {quality.row_count} quality {quality.overall_score:.3f}")
