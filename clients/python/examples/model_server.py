"""A model server by the Open Inference Protocol: tells the mesh where it is, and answers what gateways send.

usage: model_server.py ORCHESTRATOR MODEL VERSION [PORT]     needs grpcio, grpcio-health-checking, numpy, and stubs from proto/
"""
import signal
import sys
import threading
from concurrent import futures

import grpc
import numpy
from acgs.lifecycle.v1 import routing_pb2 as acgs
from acgs.lifecycle.v1 import routing_pb2_grpc as services
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from inference import grpc_predict_v2_pb2 as inference
from inference import grpc_predict_v2_pb2_grpc as inference_services

HEADER = (("x-constitutional-hash", "cdd01ef066bc6cf2"),)
TYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
FIELDS = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "INT32": "int_contents"}
MEBIBYTES_64 = 64 << 20


def numbers(request):
    """Each tensor of numbers as an array, by name."""
    arrays = {}
    for place, tensor in enumerate(request.inputs):
        if tensor.datatype not in TYPES:
            continue
        if request.raw_input_contents:
            arrays[tensor.name] = numpy.frombuffer(request.raw_input_contents[place], TYPES[tensor.datatype])
        else:
            arrays[tensor.name] = numpy.array(getattr(tensor.contents, FIELDS[tensor.datatype]), TYPES[tensor.datatype])
    return arrays


class Model(inference_services.GRPCInferenceServiceServicer):
    """The probability that a row's numbers add up to more than nothing."""

    def __init__(self, name, version):
        self.name, self.version = name, version

    def ServerLive(self, request, context):
        return inference.ServerLiveResponse(live=True)

    def ServerReady(self, request, context):
        return inference.ServerReadyResponse(ready=True)

    def ModelReady(self, request, context):
        return inference.ModelReadyResponse(ready=request.name == self.name)

    def ModelMetadata(self, request, context):
        return inference.ModelMetadataResponse(name=self.name, versions=[self.version], platform="numpy")

    def ModelInfer(self, request, context):
        arrays = numbers(request)
        if not arrays:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "inputs: no tensor of numbers")
        rows = len(next(iter(arrays.values())))
        total = sum(numpy.nan_to_num(array.astype("f8")).reshape(rows, -1).sum(axis=1) for array in arrays.values())
        scores = 1 / (1 + numpy.exp(-numpy.clip(total, -30, 30)))
        output = inference.ModelInferResponse.InferOutputTensor(name="score", datatype="FP64", shape=[rows])
        if not request.raw_input_contents:
            output.contents.fp64_contents.extend(scores)
        answer = inference.ModelInferResponse(
            model_name=self.name, model_version=self.version, id=request.id, outputs=[output])
        if request.raw_input_contents:
            answer.raw_output_contents.append(scores.astype("<f8").tobytes())
        context.set_trailing_metadata((("x-rows", str(rows)),))
        return answer


def main():
    orchestrator, name, version = sys.argv[1:4]
    sizes = [("grpc.max_receive_message_length", MEBIBYTES_64), ("grpc.max_send_message_length", MEBIBYTES_64)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=sizes)
    inference_services.add_GRPCInferenceServiceServicer_to_server(Model(name, version), server)
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    state.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_insecure_port(f"127.0.0.1:{sys.argv[4] if len(sys.argv) > 4 else 0}")
    server.start()
    endpoint = f"127.0.0.1:{port}"
    with grpc.insecure_channel(orchestrator) as channel:
        routing = services.RoutingServiceStub(channel)

        def tell(change):
            routing.SetEndpoints(acgs.SetEndpointsRequest(
                model_id=name, version=version, endpoints=[endpoint], change=change, actor="model-server"), metadata=HEADER)

        tell(acgs.ENDPOINT_CHANGE_ADD)
        print(f"{name} {version} answers at {endpoint}", flush=True)
        over = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: over.set())
        signal.signal(signal.SIGINT, lambda *_: over.set())
        over.wait()
        try:
            tell(acgs.ENDPOINT_CHANGE_REMOVE)
        except grpc.RpcError as error:
            print(f"not taken away: {error.details()}", file=sys.stderr)
    server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
