//! `StreamWindows` from the client's side. It must not know what callers do with reports, or how a channel is made: a
//! [`Dial`] brings it.

mod config;
mod connection;
mod session;
mod trouble;
mod unaccepted;

pub use config::{OnLoss, SessionConfig, SessionError};
pub use connection::{Connection, Dial, Dialing, dial};
pub use session::WindowSession;
