//! Which records are given up before the stream of them is full: the oldest of those topics that have the most. It must not know what is in
//! them.

use acgs_vocabulary::ports::PortError;
use async_nats::jetstream::stream::Stream;
use futures_util::TryStreamExt;

use super::{RECORDS_SUBJECT, trouble};

/// Of the bytes that may be kept, in percent: above the first, all beyond the second goes.
const ABOVE: u64 = 95;
const DOWN_TO: u64 = 90;
/// Topics that give up in one pass; a pass must not keep who asks for it waiting.
const TOPICS_AT_ONCE: usize = 8;

/// Gives up what is beyond. When a stream fills faster than it is looked at, its server gives up the oldest of all topics.
///
/// # Errors
/// When NATS does not answer.
pub(super) async fn give_up(records: &Stream, bytes_max: u64) -> Result<(), PortError> {
    let state = records.get_info().await.map_err(trouble)?.state;
    if state.bytes <= bytes_max / 100 * ABOVE {
        return Ok(());
    }
    let all = format!("{RECORDS_SUBJECT}.*");
    let subjects = records.info_with_subjects(&all).await.map_err(trouble)?;
    let mut topics: Vec<(String, usize)> = subjects.try_collect().await.map_err(trouble)?;
    topics.sort_unstable_by_key(|(_, messages)| std::cmp::Reverse(*messages));
    let beyond = state.bytes.saturating_sub(bytes_max / 100 * DOWN_TO);
    let count = beyond.div_ceil((state.bytes / state.messages.max(1)).max(1));
    let keep = level(&topics, count);
    for (topic, messages) in
        topics.iter().filter(|(_, messages)| *messages as u64 > keep).take(TOPICS_AT_ONCE)
    {
        records.purge().filter(topic).keep(keep).await.map_err(trouble)?;
        tracing::info!(
            topic,
            messages,
            keep,
            "the oldest records of the largest topics were given up (home.records_bytes_max)"
        );
    }
    Ok(())
}

/// What each of the largest may keep at most, so that `count` messages go; `topics` are sorted, largest first.
fn level(topics: &[(String, usize)], count: u64) -> u64 {
    let mut sum = 0;
    for (place, (_, messages)) in topics.iter().enumerate() {
        sum += *messages as u64;
        let many = place as u64 + 1;
        let next = topics.get(many as usize).map_or(0, |(_, messages)| *messages as u64);
        if sum.saturating_sub(next * many) >= count {
            return sum.saturating_sub(count) / many;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_give_up_first_and_end_alike() {
        let topics = |sizes: &[usize]| -> Vec<(String, usize)> {
            sizes.iter().map(|size| (size.to_string(), *size)).collect()
        };
        for (sizes, count, keep) in [
            (&[100, 10, 1][..], 20, 80),
            (&[100, 90, 1], 20, 85),
            (&[100, 90, 1], 21, 84),
            (&[5, 5, 5], 15, 0),
            (&[5, 5, 5], 100, 0),
            (&[], 3, 0),
            (&[7], 0, 7),
        ] {
            assert_eq!(level(&topics(sizes), count), keep, "{sizes:?} {count}");
        }
    }
}
