//! Pages of what JetStream holds: whole, or an error. It must not know what messages mean.
//!
//! A fetch ends without a word when its time is over, when the server has nothing, and when the connection is gone: taken for an end, a page
//! that did not come would be a short training set, or a start without models.

use std::time::Duration;

use acgs_vocabulary::ports::PortError;
use async_nats::jetstream::{Message, consumer::PullConsumer};
use futures_util::StreamExt;

use super::trouble;

/// A reader of one's own is given up by the server after this long: longer than a fetch that gets nothing takes, by the server's patience and
/// the client's own on top of it, so that it can be asked what is left.
pub(super) const READER_KEEP: Duration = Duration::from_secs(15);
/// For one fetch.
const FETCH_PATIENCE: Duration = Duration::from_secs(2);
/// Messages of one fetch.
const FETCH_MAX: usize = 1_000;

/// The first `count` messages of a reader of one's own that acknowledges nothing; fewer only when what was counted has been given up
/// meanwhile.
///
/// # Errors
/// `Unavailable` when messages that are there did not come.
pub(super) async fn take_all(consumer: &PullConsumer, count: usize) -> Result<Vec<Message>, PortError> {
    let mut found: Vec<Message> = Vec::with_capacity(count);
    while found.len() < count {
        let before = found.len();
        let fetch = consumer.fetch().max_messages((count - before).min(FETCH_MAX)).expires(FETCH_PATIENCE);
        let mut page = fetch.messages().await.map_err(trouble)?;
        while let Some(message) = page.next().await {
            let message = message.map_err(trouble)?;
            // The server counts what it gave this reader: what is missing was lost on its way.
            let given = message.info().map_err(trouble)?.consumer_sequence;
            if given != found.len() as u64 + 1 {
                return Err(PortError::Unavailable(
                    "a page of NATS has a gap; it has to be read again".into(),
                ));
            }
            found.push(message);
        }
        if found.len() == before {
            let info = consumer.get_info().await.map_err(trouble)?;
            // What was written to a connection that broke counts as given.
            if info.num_pending > 0 || info.delivered.consumer_sequence != found.len() as u64 {
                let message = "a page of NATS did not come whole; it has to be read again";
                return Err(PortError::Unavailable(message.into()));
            }
            break;
        }
    }
    Ok(found)
}
