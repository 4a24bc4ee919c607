"""A worker with scikit-learn: takes retraining jobs of the mesh, one after the other, and brings back versions.

usage: trainer.py ADDRESS [JOBS]     needs grpcio, pyarrow, scikit-learn, and stubs made from proto/
"""
import hashlib
import pickle
import queue
import sys
import threading

import grpc
import numpy
import pyarrow.parquet
import pyarrow
from acgs.lifecycle.v1 import job_pb2 as acgs
from acgs.lifecycle.v1 import job_pb2_grpc as services
from acgs.lifecycle.v1.lifecycle_pb2 import Artifact
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HASH = "cdd01ef066bc6cf2"
HEADER = (("x-constitutional-hash", HASH),)
TRAINER = "sklearn-logistic"
PIECE = 1 << 20


def by_role(table):
    """Names of the columns by what they are for, as the mesh says it in the fields' metadata."""
    roles = {}
    for field in table.schema:
        roles.setdefault((field.metadata or {}).get(b"acgs.role", b"none").decode(), []).append(field)
    return roles


def columns(table, fields):
    """Features as one array of objects, texts and numbers side by side."""
    return numpy.array([table[field.name].to_pylist() for field in fields], dtype=object).T


def fit(table, hyperparameters):
    """A pipeline that scores rows like these."""
    roles = by_role(table)
    features = roles["feature"]
    texts = [place for place, field in enumerate(features) if pyarrow.types.is_string(field.type)]
    numbers = [place for place in range(len(features)) if place not in texts]
    fill = SimpleImputer(missing_values=None, strategy="constant", fill_value="")
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(fill, OneHotEncoder(handle_unknown="ignore")), texts),
            (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        ),
        LogisticRegression(C=float(hyperparameters.get("C", "1")), max_iter=1000),
    )
    rows = columns(table, features)
    rows[:, numbers] = rows[:, numbers].astype(float)
    labels = numpy.array(table[roles["label"][0].name].to_pylist()).astype(float) > 0.5
    return model.fit(rows, labels), features, numbers


def score(fitted, table):
    model, features, numbers = fitted
    rows = columns(table, features)
    rows[:, numbers] = rows[:, numbers].astype(float)
    return model.predict_proba(rows)[:, 1]


class Worker:
    def __init__(self, channel):
        self.stub = services.JobServiceStub(channel)
        self.outgoing = queue.Queue()
        self.answers = self.stub.Work(iter(self.outgoing.get, None), metadata=HEADER)
        self.say(hello=acgs.Hello(worker_id="sklearn-1", trainers=[TRAINER]))
        self.heartbeat_s = self.hear("welcome").heartbeat_ms / 1000

    def say(self, **message):
        self.outgoing.put(acgs.WorkRequest(**message))

    def hear(self, wanted):
        for answer in self.answers:
            kind = answer.WhichOneof("message")
            if kind == wanted:
                return getattr(answer, kind)
            if kind == "revoked":
                raise RuntimeError(f"{answer.revoked.reason}: {answer.revoked.message}")
        raise RuntimeError("the mesh went away")

    def read(self, job, part, window):
        request = acgs.ReadDatasetRequest(job_id=job.job_id, fence=job.fence, part=part)
        data = b"".join(piece.chunk for piece in self.stub.ReadDataset(request, metadata=HEADER))
        assert hashlib.sha256(data).hexdigest() == window.digest, "the data are not what the job names"
        return pyarrow.parquet.read_table(pyarrow.BufferReader(data))

    def upload(self, data):
        digest = hashlib.sha256(data).hexdigest()

        def messages():
            yield acgs.PutArtifactRequest(header=acgs.ArtifactHeader(digest=digest, size_bytes=len(data)))
            for start in range(0, len(data), PIECE):
                yield acgs.PutArtifactRequest(chunk=data[start:start + PIECE])

        self.stub.PutArtifact(messages(), metadata=HEADER)
        return Artifact(digest=digest, size_bytes=len(data), format="sklearn-pickle/1")

    def next(self):
        self.say(ready=acgs.Ready())
        job = self.hear("assignment")
        held = {"job_id": job.job_id, "fence": job.fence}
        self.say(started=acgs.Started(**held))
        self.hear("taken")
        done = threading.Event()

        def beat():
            while not done.wait(self.heartbeat_s):
                self.say(heartbeat=acgs.Heartbeat(**held))

        threading.Thread(target=beat, daemon=True).start()
        try:
            fitted, data = fit(self.read(job, acgs.DATA_PART_TRAIN, job.train), job.hyperparameters), job.train
            # The labels of the held-out records stay with the mesh until the scores are in.
            scores = score(fitted, self.read(job, acgs.DATA_PART_HOLDOUT, job.holdout))
            self.say(scores=acgs.Scores(scores=scores, **held))
            self.hear("scored")
            if job.HasField("refit"):
                fitted, data = fit(self.read(job, acgs.DATA_PART_REFIT, job.refit), job.hyperparameters), job.refit
            artifact = self.upload(pickle.dumps(fitted[0]))
        except (ValueError, AssertionError, KeyError) as error:
            self.say(failed=acgs.Failed(retryable=False, why=str(error)[:200], **held))
            self.hear("taken")
            return f"{job.job_id} not done: {error}"
        finally:
            done.set()
        self.say(completed=acgs.Completed(
            artifact=artifact, data_digest=data.digest, metrics={"rows": data.rows}, constitutional_hash=HASH, **held))
        self.hear("taken")
        return f"{job.job_id} trained on {data.rows} records"


if __name__ == "__main__":
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8013"
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with grpc.insecure_channel(address) as channel:
        worker = Worker(channel)
        while jobs is None or jobs > 0:
            print(worker.next(), flush=True)
            jobs = jobs and jobs - 1
        worker.outgoing.put(None)
