//! Which instance a call is given to: the less busy of two that are well. It must not know what becomes of the call.

use std::{sync::PoisonError, task::Context};

use acgs_vocabulary::Problem;
use http::Request;
use tonic::body::Body;
use tower::load::Load;

use super::{IN_FLIGHT_MAX, Inner, Shared, member::Sending, settle};
use crate::random;

impl Shared {
    /// Two different places below `count`, or twice the only one.
    fn two_of(&self, count: usize) -> (usize, usize) {
        let mixed = random::next(&self.random);
        let (high, low) = ((mixed >> 32) as usize, (mixed & 0xffff_ffff) as usize);
        let one = high % count;
        let other = if count > 1 { (one + 1 + low % (count - 1)) % count } else { one };
        (one, other)
    }

    /// Gives a call to an instance; it comes back when there is none.
    pub(super) fn offer(&self, request: Request<Body>) -> Result<Sending, (Box<Request<Body>>, Problem)> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { cache, waker } = &mut *inner;
        let mut context = Context::from_waker(waker);
        loop {
            let count = cache.ready_len();
            if count == 0 {
                self.note(cache);
                return Err((Box::new(request), self.empty()));
            }
            let well =
                |index: usize| cache.get_ready_index(index).is_some_and(|(_, member)| member.is_well());
            let (mut one, mut other) = self.two_of(count);
            let mut panicking = false;
            if !(well(one) && well(other)) {
                let fit: Vec<usize> = (0..count).filter(|index| well(*index)).collect();
                // When too few are well to carry it all, whoever answers has a share.
                panicking = fit.is_empty() || fit.len() * 100 < self.probe.panic_percent * count;
                if !panicking {
                    let (first, second) = self.two_of(fit.len());
                    (one, other) = (fit[first], fit[second]);
                }
            }
            // One that is not ready any more leaves its place: the places are drawn again.
            if !matches!(cache.check_ready_index(&mut context, one), Ok(true))
                || !matches!(cache.check_ready_index(&mut context, other), Ok(true))
            {
                continue;
            }
            let among = |index: &usize| {
                panicking || cache.get_ready_index(*index).is_some_and(|(_, member)| member.is_well())
            };
            let load =
                |index| cache.get_ready_index(index).map_or(f64::INFINITY, |(_, member)| member.load());
            let room = |index: &usize| {
                cache
                    .get_ready_index(*index)
                    .is_some_and(|(_, member)| member.gauge().in_flight() < IN_FLIGHT_MAX)
            };
            let (better, worse) = if load(other) < load(one) { (other, one) } else { (one, other) };
            let Some(chosen) = [better, worse].into_iter().chain((0..count).filter(among)).find(room) else {
                let message = format!("every instance of {} has {IN_FLIGHT_MAX} calls open", self.name);
                return Err((Box::new(request), Problem::exhausted("INSTANCES_BUSY", message, 100)));
            };
            if !matches!(cache.check_ready_index(&mut context, chosen), Ok(true)) {
                continue;
            }
            let sending = cache.call_ready_index(chosen, request);
            // A connection takes the next call at once.
            let others = cache.ready_len();
            settle(cache, &mut context, others);
            return Ok(sending);
        }
    }
}
