//! A client's partition of a stream: frames go out when there is credit, reports come in and are acknowledged, and when the
//! connection breaks it is made again, wherever the stream is now. It must not know what is in a frame.

use std::{collections::VecDeque, fmt, time::Duration};

use acgs_contracts::{
    common::v1::RecordBatch,
    orchestrator::v1::{
        AckReports, End, Labels, Open, Rows, StreamWindowsRequest, stream_windows_request::Message as Say,
        stream_windows_response::Message as Told,
    },
};
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::{
    config::{OnLoss, SessionConfig, SessionError},
    connection::{Connection, Dial},
    trouble::{Trouble, is_forgotten},
    unaccepted::{Life, Unaccepted},
};

/// Reports between acknowledgements, so that the server need not keep them.
const REPORTS_PER_ACK: u64 = 16;
/// Orchestrators that send a client on to the next, at most, before it looks around again.
const REDIRECTS_MAX: u32 = 3;
/// A connection that stood for so long was one, also when there was nothing to say.
const LIVED: Duration = Duration::from_secs(5);
/// Between two rounds of attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The session.
pub struct WindowSession {
    dial: Box<dyn Dial>,
    config: SessionConfig,
    open: Open,
    connection: Option<Connection>,
    unaccepted: Unaccepted,
    /// The last report that was heard.
    report_seq: u64,
    /// What was heard and not handed out.
    heard: VecDeque<Told>,
    ending: Ending,
    closed: bool,
    /// Since when nothing was heard on any connection.
    down_since: Option<Instant>,
    /// Before the next connection; it grows until something is heard on one.
    pause: Duration,
    opened_at: Instant,
    /// Where the stream was said to be.
    owner: Option<String>,
    /// Which address is tried next.
    address: usize,
}

/// How far the end of the partition has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// There is more.
    No,
    /// It is to be said, after all frames.
    Wanted,
    /// The connection that there is was told.
    Said,
}

impl fmt::Debug for WindowSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WindowSession")
            .field("stream_id", &self.open.stream_id)
            .finish_non_exhaustive()
    }
}

impl WindowSession {
    /// A session that opens when it is first used.
    #[must_use]
    pub fn new(dial: Box<dyn Dial>, config: SessionConfig, open: Open) -> Self {
        Self {
            unaccepted: Unaccepted::new(!config.reconnect.is_zero()),
            dial,
            config,
            report_seq: open.resume_after,
            open,
            connection: None,
            heard: VecDeque::new(),
            ending: Ending::No,
            closed: false,
            down_since: None,
            pause: Duration::ZERO,
            opened_at: Instant::now(),
            owner: None,
            address: 0,
        }
    }

    /// Opens, or resumes, a stream: every address is tried once.
    ///
    /// # Errors
    /// What the last server says against it.
    pub async fn open(dial: Box<dyn Dial>, config: SessionConfig, open: Open) -> Result<Self, SessionError> {
        let mut session = Self::new(dial, config, open);
        session.connect(Duration::ZERO).await?;
        Ok(session)
    }

    /// Opens the stream if it is not open, and sends what waits.
    ///
    /// # Errors
    /// The server's reason, or that it cannot be reached.
    pub async fn ready(&mut self) -> Result<(), SessionError> {
        self.flush().await
    }

    /// Bytes that the server takes now.
    #[must_use]
    pub fn credit_bytes(&self) -> i64 {
        self.unaccepted.credit_bytes()
    }

    /// Frames that are not accepted yet.
    #[must_use]
    pub fn unaccepted_frames(&self) -> usize {
        self.unaccepted.frames()
    }

    /// What is not accepted yet counts for: rows, unless its sender said something else.
    #[must_use]
    pub fn unaccepted_weight(&self) -> u64 {
        self.unaccepted.weight()
    }

    /// What was accepted counts for, since the session began.
    #[must_use]
    pub fn accepted_weight(&self) -> u64 {
        self.unaccepted.accepted_weight()
    }

    /// Sends rows of so many bytes, when there is credit. What is heard meanwhile waits for [`Self::heard`].
    ///
    /// # Errors
    /// What the server says against them.
    pub async fn send_rows(&mut self, batch: RecordBatch, bytes: usize) -> Result<(), SessionError> {
        let weight = u64::from(batch.row_count);
        self.send_rows_weighing(batch, bytes, weight).await
    }

    /// The same with rows that count for something else, such as the calls that they are of.
    ///
    /// # Errors
    /// What the server says against them.
    pub async fn send_rows_weighing(
        &mut self,
        batch: RecordBatch,
        bytes: usize,
        weight: u64,
    ) -> Result<(), SessionError> {
        self.send(Say::Rows(Rows { batch: Some(batch), ..Rows::default() }), bytes, weight).await
    }

    /// Sends labels, likewise.
    ///
    /// # Errors
    /// What the server says against them.
    pub async fn send_labels(&mut self, batch: RecordBatch, bytes: usize) -> Result<(), SessionError> {
        self.send(Say::Labels(Labels { batch: Some(batch), ..Labels::default() }), bytes, 0).await
    }

    /// No more rows or labels.
    ///
    /// # Errors
    /// When the stream cannot be reached.
    pub async fn end(&mut self) -> Result<(), SessionError> {
        self.ending = self.ending.max(Ending::Wanted);
        self.flush().await
    }

    /// Waits until everything that was sent is accepted.
    ///
    /// # Errors
    /// What the server says against it.
    pub async fn settle(&mut self) -> Result<(), SessionError> {
        loop {
            self.flush().await?;
            match self.unaccepted.frames() {
                0 => return Ok(()),
                _ if self.closed => return Err(SessionError::Closed),
                _ => self.hear().await?,
            }
        }
    }

    /// What was heard while something was sent, oldest first. A report counts as taken, for the server too, when it is handed
    /// out.
    pub fn heard(&mut self) -> Option<Told> {
        let message = self.heard.pop_front()?;
        if let Told::Report(report) = &message {
            let out = self.connection.as_ref().and_then(Connection::sender);
            if let Some(out) = out.filter(|_| report.report_seq % REPORTS_PER_ACK == 0) {
                let ack = Say::Ack(AckReports { through_report_seq: report.report_seq });
                // Not worth waiting for: the next one says as much.
                let _full_or_closed = out.try_send(StreamWindowsRequest { message: Some(ack) });
            }
        }
        Some(message)
    }

    /// Puts these, with their bytes and what they count for, in the place of the rows that are to be accepted next, which the server refuses
    /// again and again; what is given up with them. The connection has to be over.
    pub fn replace_first(&mut self, with: impl FnOnce(RecordBatch) -> Vec<(RecordBatch, usize, u64)>) -> u64 {
        self.unaccepted.replace_first(|message| match message {
            Say::Rows(Rows { batch: Some(batch), .. }) => {
                let rows = |batch| Say::Rows(Rows { batch: Some(batch), ..Rows::default() });
                with(batch).into_iter().map(|(batch, bytes, weight)| (rows(batch), bytes, weight)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// The next thing that the server says; `None` at the end. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// The server's reason, or that it cannot be reached.
    pub async fn next(&mut self) -> Result<Option<Told>, SessionError> {
        while self.heard.is_empty() && !self.closed {
            self.flush().await?;
            self.hear().await?;
        }
        Ok(self.heard())
    }

    /// The frame is kept also when there is an error: it goes with the next connection.
    async fn send(&mut self, message: Say, bytes: usize, weight: u64) -> Result<(), SessionError> {
        let waited = self.wait_for_credit().await;
        self.unaccepted.add(message, bytes, weight);
        waited?;
        self.flush().await
    }

    async fn wait_for_credit(&mut self) -> Result<(), SessionError> {
        loop {
            self.flush().await?;
            match self.credit_bytes() {
                _ if self.closed => return Err(SessionError::Closed),
                1.. => return Ok(()),
                _ => self.hear().await?,
            }
        }
    }

    /// Opens the connection if there is none, and sends what is to be sent, while it keeps reading, so that neither side
    /// waits for the other.
    async fn flush(&mut self) -> Result<(), SessionError> {
        while !self.closed && (self.connection.is_none() || self.has_unsent()) {
            let Some(out) = self.connection.as_ref().and_then(Connection::sender) else {
                self.connect(self.config.reconnect).await?;
                continue;
            };
            tokio::select! {
                biased;
                room = out.reserve() => match room {
                    Ok(room) => {
                        let end = || {
                            self.ending = Ending::Said;
                            Say::End(End {})
                        };
                        let message = self.unaccepted.next().unwrap_or_else(end);
                        room.send(StreamWindowsRequest { message: Some(message) });
                    }
                    // The server's reason is in what it says last.
                    Err(_) => while self.connection.is_some() && !self.closed {
                        self.hear().await?;
                    },
                },
                heard = self.hear() => heard?,
            }
        }
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        self.unaccepted.has_unsent() || self.ending == Ending::Wanted
    }

    /// Hears one thing, or that the connection is lost.
    async fn hear(&mut self) -> Result<(), SessionError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let lost = match connection.next().await {
            Ok(Some(message)) => {
                self.note(&message);
                self.heard.push_back(message);
                return Ok(());
            }
            Ok(None) => Status::unavailable("the server ended the call"),
            Err(status) => status,
        };
        self.connection = None;
        if self.opened_at.elapsed() > LIVED {
            (self.down_since, self.pause) = (None, Duration::ZERO);
        }
        // Opened, and over before anything was said: the next one waits, and counts towards the time that there is.
        let down = self.down_since.map_or(Duration::ZERO, |since| since.elapsed());
        match Trouble::of(lost) {
            Trouble::Refused(status) => Err(SessionError::Refused(status)),
            Trouble::Passing(status) if self.config.reconnect.is_zero() || down > self.config.reconnect => {
                Err(SessionError::Unreachable(status))
            }
            Trouble::Passing(_) => Ok(()),
            Trouble::Moved(owner) => {
                self.owner = Some(owner);
                Ok(())
            }
        }
    }

    fn note(&mut self, message: &Told) {
        // A connection on which something is heard is one.
        (self.down_since, self.pause) = (None, Duration::ZERO);
        match message {
            Told::Accepted(accepted) => self.unaccepted.accept(accepted.through_seq, accepted.credit_bytes),
            Told::Report(report) => self.report_seq = report.report_seq,
            // Its end was not asked for: another client has ended it, and what is left goes into its next life.
            Told::Closed(_) if self.config.on_loss == OnLoss::Continue && self.ending == Ending::No => {
                self.connection = None;
            }
            Told::Closed(_) => self.closed = true,
            Told::Opened(_) => {}
        }
    }

    /// Opens the stream, at the address where it is said to be or else at each in turn, for so long.
    async fn connect(&mut self, budget: Duration) -> Result<(), SessionError> {
        let since = *self.down_since.get_or_insert_with(Instant::now);
        let (mut redirects, mut tried) = (0, 0);
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.pause = (self.pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX);
        loop {
            let address = match self.owner.take() {
                Some(owner) => owner,
                None => self.next_address(),
            };
            let open = Open { resume_after: self.report_seq, ..self.open.clone() };
            let opened = Connection::open(self.dial.as_ref(), &address, open, self.config.opening).await;
            let status = match opened {
                Ok(connection) => return self.opened(connection),
                Err(status) => status,
            };
            if self.config.on_loss == OnLoss::Continue && self.report_seq > 0 && is_forgotten(&status) {
                self.report_seq = 0;
                continue;
            }
            match Trouble::of(status.clone()) {
                Trouble::Refused(status) => return Err(SessionError::Refused(status)),
                Trouble::Moved(owner) if redirects < REDIRECTS_MAX => {
                    self.owner = Some(owner);
                    redirects += 1;
                }
                Trouble::Moved(_) | Trouble::Passing(_) => {
                    tried += 1;
                    if tried % self.config.addresses.len().max(1) == 0 {
                        if since.elapsed() >= budget {
                            return Err(SessionError::Unreachable(Box::new(status)));
                        }
                        sleep(self.pause).await;
                        self.pause = (self.pause * 2).min(PAUSE_MAX);
                        redirects = 0;
                    }
                }
            }
        }
    }

    fn next_address(&mut self) -> String {
        let addresses = &self.config.addresses;
        let address = addresses.get(self.address % addresses.len().max(1)).cloned().unwrap_or_default();
        self.address = self.address.wrapping_add(1);
        address
    }

    fn opened(&mut self, connection: Connection) -> Result<(), SessionError> {
        let opened = connection.opened();
        let is_new = self.unaccepted.life(opened.accepted_through, &opened.life) == Life::New;
        if (self.config.on_loss == OnLoss::Fail && is_new) || !self.unaccepted.is_whole() {
            return Err(SessionError::Lost {
                accepted_through: self.unaccepted.accepted_through(),
                known_through: opened.accepted_through,
            });
        }
        self.unaccepted.reopen(opened.accepted_through, opened.credit_bytes, &opened.life);
        self.open.life.clone_from(&opened.life);
        // This connection was not told.
        self.ending = self.ending.min(Ending::Wanted);
        (self.connection, self.opened_at) = (Some(connection), Instant::now());
        Ok(())
    }
}
