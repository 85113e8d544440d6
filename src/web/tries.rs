//! How often somebody may be wrong: a few times at once, then now and then. Counted for each address that asks (of
//! IPv6 for each network of a subscriber), so that who guesses locks nobody else out. Held by [`super::gate`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong tries at once,
const AT_ONCE: u32 = 5;
/// and one more after each of these.
const ONE_MORE: Duration = Duration::from_secs(10);
/// Addresses that are remembered; if there are more, the one that is forgiven soonest is forgotten.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Tries {
    /// When all that an address did wrong will be forgiven.
    forgiven: Mutex<HashMap<IpAddr, Instant>>,
}

impl Tries {
    /// May this address try now?
    ///
    /// # Errors
    /// So many seconds later.
    pub fn may(&self, from: IpAddr, now: Instant) -> Result<(), u32> {
        let forgiven = self.forgiven.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = forgiven.get(&network(from)) else { return Ok(()) };
        let owed = at.saturating_duration_since(now);
        match owed.checked_sub(ONE_MORE * (AT_ONCE - 1)) {
            Some(wait) if !wait.is_zero() => Err(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
            _ => Ok(()),
        }
    }

    /// It was wrong.
    pub fn wrong(&self, from: IpAddr, now: Instant) {
        let mut forgiven = self.forgiven.lock().unwrap_or_else(PoisonError::into_inner);
        if forgiven.len() >= MOST {
            forgiven.retain(|_, at| *at > now);
        }
        if forgiven.len() >= MOST
            && let Some(soonest) = forgiven.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
        {
            forgiven.remove(&soonest);
        }
        let at = forgiven.entry(network(from)).or_insert(now);
        *at = (*at).max(now) + ONE_MORE;
    }
}

/// A subscriber of IPv6 has as many addresses as he likes.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_wrong_too_often_waits_and_nobody_else_does() {
        let (tries, now) = (Tries::default(), Instant::now());
        let (guesser, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..AT_ONCE {
            assert_eq!(tries.may(guesser, now), Ok(()));
            tries.wrong(guesser, now);
        }
        assert!(tries.may(guesser, now).is_err_and(|seconds| (10..=11).contains(&seconds)));
        assert_eq!(tries.may(other, now), Ok(()));
        let later = now + ONE_MORE;
        assert_eq!(tries.may(guesser, later), Ok(()));
        tries.wrong(guesser, later);
        assert!(tries.may(guesser, later).is_err());
        assert_eq!(tries.may(guesser, later + ONE_MORE * AT_ONCE), Ok(()));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one() {
        let (tries, now) = (Tries::default(), Instant::now());
        for n in 0..AT_ONCE {
            tries.wrong(format!("2001:db8:1:2::{n}").parse().unwrap(), now);
        }
        assert!(tries.may("2001:db8:1:2:ffff::1".parse().unwrap(), now).is_err());
        assert!(tries.may("2001:db8:1:3::1".parse().unwrap(), now).is_ok());
    }
}
