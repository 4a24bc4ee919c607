//! Lanes over gRPC: the judge's end for a service's `Judge` RPC, and the orchestrator's end over a generated client.
//! It must not know channels: the caller brings the two streams.

use acgs_contracts::lane::v1 as proto;
use acgs_vocabulary::{Problem, problem::Kind};
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::{
    judge::{Judge, LANE_QUEUE, LaneHandle, applied},
    message::LaneDown,
    wire,
};

/// Drives a judge with what a client sends; the answers end with the first error. When `stop` is cancelled, the judge
/// hands its state over and the lane ends as unavailable.
pub fn serve<J, S, M>(
    mut judge: J,
    incoming: S,
    stop: CancellationToken,
    wrap: fn(proto::LaneUp) -> M,
) -> ReceiverStream<Result<M, Status>>
where
    J: Judge + 'static,
    S: Stream<Item = Result<Option<proto::LaneDown>, Status>> + Send + Unpin + 'static,
    M: Send + 'static,
{
    let (answers, out) = mpsc::channel(LANE_QUEUE);
    tokio::spawn(async move {
        let mut incoming = incoming;
        let mut reader = wire::DownReader::default();
        loop {
            let message = tokio::select! {
                message = incoming.next() => message,
                () = stop.cancelled() => {
                    let answer = |up| Ok(wrap(wire::up_to_proto(up)));
                    let last = judge.hand_over().into_iter().map(answer);
                    let farewell = Problem::new(Kind::Unavailable, "DRAINING", "the judge is stopping");
                    for answer in last.chain([Err(farewell.into())]) {
                        if answers.send(answer).await.is_err() {
                            return;
                        }
                    }
                    return;
                }
            };
            let Some(message) = message else { return };
            let read = message.and_then(|message| Ok(reader.read(message.unwrap_or_default())?));
            let taken = match read {
                Ok(message) => applied(&mut judge, message).await.map_err(Status::from),
                Err(status) => Err(status),
            };
            match taken {
                Ok(ups) => {
                    for up in ups {
                        if answers.send(Ok(wrap(wire::up_to_proto(up)))).await.is_err() {
                            return;
                        }
                    }
                }
                Err(status) => {
                    let _gone = answers.send(Err(status)).await;
                    return;
                }
            }
        }
    });
    ReceiverStream::new(out)
}

/// The stream that a generated client sends, fed by the handle's sender.
pub fn outgoing<M: Send + 'static>(
    wrap: fn(proto::LaneDown) -> M,
) -> (mpsc::Sender<LaneDown>, impl Stream<Item = M> + Send + 'static) {
    let (down, messages) = mpsc::channel::<LaneDown>(LANE_QUEUE);
    (down, ReceiverStream::new(messages).map(move |message| wrap(wire::down_to_proto(message))))
}

/// Joins the sender of [`outgoing`] with the stream that the client received.
pub fn handle<S>(down: mpsc::Sender<LaneDown>, incoming: S) -> LaneHandle
where
    S: Stream<Item = Result<Option<proto::LaneUp>, Status>> + Send + Unpin + 'static,
{
    let (answers, up) = mpsc::channel(LANE_QUEUE);
    tokio::spawn(async move {
        let mut incoming = incoming;
        loop {
            let message = tokio::select! {
                message = incoming.next() => message,
                // Nobody listens any more: the judge is let go, whatever it does.
                () = answers.closed() => return,
            };
            let Some(message) = message else { return };
            let read = message
                .map_err(|status| problem_of(&status))
                .and_then(|message| wire::up_from_proto(message.unwrap_or_default()));
            let over = read.is_err();
            if answers.send(read).await.is_err() || over {
                return;
            }
        }
    });
    LaneHandle { down, up }
}

/// What a judge's status means to the orchestrator: the lane is lost, or the lane is wrong.
#[must_use]
pub fn problem_of(status: &Status) -> Problem {
    let kind = match status.code() {
        Code::InvalidArgument => Kind::Invalid,
        Code::OutOfRange => Kind::OutOfRange,
        Code::FailedPrecondition => Kind::Precondition,
        Code::Unimplemented => Kind::Unimplemented,
        Code::ResourceExhausted => Kind::Exhausted,
        _ => Kind::Unavailable,
    };
    Problem::told(kind, status, "LANE_LOST")
}
