//! A client of the mesh, as the commands are: connected, stamped, with messages a person can act on. It must not know
//! which command it serves.

use std::time::Duration;

use acgs_contracts::common::v1::RecordBatch;
use acgs_contracts::orchestrator::v1::{
    Accepted, AckReports, End, Labels, Open, Rows, StreamWindowsRequest, StreamWindowsResponse,
    orchestrator_service_client::OrchestratorServiceClient, stream_windows_request, stream_windows_response,
};
use acgs_mesh::client::{MeshChannel, connect};
use acgs_vocabulary::Constitution;
use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

/// Reports between acknowledgements, so that the server need not keep them.
const REPORTS_PER_ACK: u64 = 16;
/// Messages that wait to be sent.
const OUTGOING_MAX: usize = 16;
/// Largest message received.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects to a server.
///
/// # Errors
/// Saying what to start, or what to check.
pub async fn channel(address: &str, constitution: Constitution) -> anyhow::Result<MeshChannel> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    connect(&url, constitution)
        .await
        .with_context(|| format!("nobody answers at {address}; start the mesh with `acgs serve all`"))
}

/// A status for a person: code, sentence, and what to do where that is known.
#[must_use]
pub fn explain(status: &Status) -> anyhow::Error {
    let advice = match status.code() {
        Code::PermissionDenied => "\nset CONSTITUTIONAL_HASH to the identifier that the server serves under",
        Code::Unavailable => "\nis the mesh still running?",
        _ => "",
    };
    anyhow::anyhow!("{:?}: {}{advice}", status.code(), status.message())
}

/// An open `StreamWindows`.
#[derive(Debug)]
pub struct WindowStream {
    outgoing: mpsc::Sender<StreamWindowsRequest>,
    incoming: Streaming<StreamWindowsResponse>,
    next_seq: u64,
    accepted_through: u64,
    credit: i64,
}

impl WindowStream {
    /// Opens, or resumes, a stream.
    ///
    /// # Errors
    /// What the server says against it.
    pub async fn open(channel: MeshChannel, open: Open) -> anyhow::Result<Self> {
        let mut client = OrchestratorServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (outgoing, messages) = mpsc::channel(OUTGOING_MAX);
        let first = StreamWindowsRequest { message: Some(stream_windows_request::Message::Open(open)) };
        outgoing.send(first).await.context("the stream is closed")?;
        let response = client.stream_windows(ReceiverStream::new(messages)).await;
        let mut incoming = response.map_err(|status| explain(&status))?.into_inner();
        let opened =
            tokio::time::timeout(PATIENCE, incoming.message()).await.context("the server is silent")?;
        match opened.map_err(|status| explain(&status))?.and_then(|message| message.message) {
            Some(stream_windows_response::Message::Opened(opened)) => Ok(Self {
                outgoing,
                incoming,
                next_seq: opened.accepted_through + 1,
                accepted_through: opened.accepted_through,
                credit: opened.credit_bytes as i64,
            }),
            _ => bail!("the server did not open the stream"),
        }
    }

    /// Bytes that the server takes now.
    #[must_use]
    pub fn credit(&self) -> i64 {
        self.credit
    }

    /// Sends rows, when there is credit; takes answers while there is none.
    ///
    /// # Errors
    /// What the server says against them.
    pub async fn send_rows(
        &mut self,
        batch: RecordBatch,
        bytes: usize,
        told: &mut Vec<stream_windows_response::Message>,
    ) -> anyhow::Result<()> {
        let seq = self.number(bytes, told).await?;
        let message =
            stream_windows_request::Message::Rows(Rows { seq, batch: Some(batch), ..Rows::default() });
        self.send(message, told).await
    }

    /// Sends labels, likewise.
    ///
    /// # Errors
    /// What the server says against them.
    pub async fn send_labels(
        &mut self,
        batch: RecordBatch,
        bytes: usize,
        told: &mut Vec<stream_windows_response::Message>,
    ) -> anyhow::Result<()> {
        let seq = self.number(bytes, told).await?;
        let message = stream_windows_request::Message::Labels(Labels { seq, batch: Some(batch) });
        self.send(message, told).await
    }

    /// No more rows or labels.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn end(&mut self, told: &mut Vec<stream_windows_response::Message>) -> anyhow::Result<()> {
        self.send(stream_windows_request::Message::End(End {}), told).await
    }

    /// Waits until the server has taken everything that was sent, and takes what it has said.
    ///
    /// # Errors
    /// What the server says against it.
    pub async fn settle(&mut self, told: &mut Vec<stream_windows_response::Message>) -> anyhow::Result<()> {
        while self.accepted_through + 1 < self.next_seq {
            match self.next().await? {
                Some(message) => told.push(message),
                None => bail!("the server closed the stream"),
            }
        }
        Ok(())
    }

    async fn number(
        &mut self,
        bytes: usize,
        told: &mut Vec<stream_windows_response::Message>,
    ) -> anyhow::Result<u64> {
        while self.credit <= 0 {
            match self.next().await? {
                Some(message) => told.push(message),
                None => bail!("the server closed the stream"),
            }
        }
        self.credit -= bytes as i64;
        let seq = self.next_seq;
        self.next_seq += 1;
        Ok(seq)
    }

    /// Sends, and meanwhile keeps reading, so that neither side waits for the other.
    async fn send(
        &mut self,
        message: stream_windows_request::Message,
        told: &mut Vec<stream_windows_response::Message>,
    ) -> anyhow::Result<()> {
        let outgoing = self.outgoing.clone();
        let sending = outgoing.send(StreamWindowsRequest { message: Some(message) });
        tokio::pin!(sending);
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => match sent {
                    Ok(()) => return Ok(()),
                    // The server's reason is in what it sent last.
                    Err(_) => {
                        while let Some(message) = self.next().await? {
                            told.push(message);
                        }
                        bail!("the server closed the stream");
                    }
                },
                message = self.incoming.message() => match message.map_err(|status| explain(&status))? {
                    Some(message) => told.extend(self.note(message)),
                    None => bail!("the server closed the stream"),
                },
            }
        }
    }

    /// The next thing that the server says; `None` at the end.
    ///
    /// # Errors
    /// The server's reason.
    pub async fn next(&mut self) -> anyhow::Result<Option<stream_windows_response::Message>> {
        loop {
            let Some(message) = self.incoming.message().await.map_err(|status| explain(&status))? else {
                return Ok(None);
            };
            if let Some(message) = self.note(message) {
                return Ok(Some(message));
            }
        }
    }

    fn note(&mut self, message: StreamWindowsResponse) -> Option<stream_windows_response::Message> {
        if let Some(stream_windows_response::Message::Accepted(Accepted {
            credit_bytes, through_seq, ..
        })) = &message.message
        {
            self.accepted_through = self.accepted_through.max(*through_seq);
            self.credit += *credit_bytes as i64;
        }
        if let Some(stream_windows_response::Message::Report(report)) = &message.message
            && report.report_seq % REPORTS_PER_ACK == 0
        {
            let ack = AckReports { through_report_seq: report.report_seq };
            let ack = StreamWindowsRequest { message: Some(stream_windows_request::Message::Ack(ack)) };
            // Not worth waiting for: the next one says as much.
            let _full_or_closed = self.outgoing.try_send(ack);
        }
        message.message
    }
}
