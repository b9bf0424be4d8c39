//! Limits the number of connections and delays wrong tokens.
//!
//! A new connection is always accepted, and the least useful one is closed instead. So no client can block the preview
//! by holding connections open, neither for the author's browser nor for others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::parallel::lock;

/// The maximum number of connections.
const ALL: usize = 256;
/// The maximum number of connections of one machine. A browser opens at most six to each origin.
const OF_PEER: usize = 64;
/// The number of machines whose wrong tokens are counted.
const REMEMBERED: usize = 1024;
/// Wrong tokens are forgotten after this time without a further one.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// The delay of the first answer to a wrong token. It is doubled for each further one, up to a limit.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// The minimal time between two lines in the log about one machine.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The open connections. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Visits(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// A counter of connections and requests.
    clock: u64,
    open: HashMap<u64, Visit>,
}

struct Visit {
    peer: IpAddr,
    /// The counter at its last granted request, if any.
    granted: Option<u64>,
    end: CancellationToken,
}

/// The registration of a connection, until it is dropped.
pub(super) struct Place {
    visits: Visits,
    number: u64,
    end: CancellationToken,
}

impl Visits {
    /// Registers a connection. If there are too many, another one is closed: first those without a granted request,
    /// then the one whose last request is the oldest.
    pub(super) fn enter(&self, from: IpAddr) -> Place {
        let peer = machine(from);
        let mut inner = lock(&self.0);
        if inner
            .open
            .values()
            .filter(|visit| visit.peer == peer)
            .count()
            >= OF_PEER
        {
            inner.end_one(Some(peer));
        }
        if inner.open.len() >= ALL {
            inner.end_one(None);
        }
        inner.clock += 1;
        let number = inner.clock;
        let end = CancellationToken::new();
        let visit = Visit {
            peer,
            granted: None,
            end: end.clone(),
        };
        inner.open.insert(number, visit);
        Place {
            visits: self.clone(),
            number,
            end,
        }
    }

    /// Closes the least useful connection, because the system has no resources for another one.
    pub(super) fn make_room(&self) {
        lock(&self.0).end_one(None);
    }
}

impl Inner {
    fn end_one(&mut self, of: Option<IpAddr>) {
        let candidates = self.open.iter();
        let least = candidates
            .filter(|(_, visit)| of.is_none_or(|peer| visit.peer == peer))
            .min_by_key(|(number, visit)| (visit.granted, **number))
            .map(|(number, _)| *number);
        if let Some(visit) = least.and_then(|number| self.open.remove(&number)) {
            visit.end.cancel();
        }
    }
}

impl Place {
    /// Records that a request was granted.
    pub(super) fn grant(&self) {
        let mut inner = lock(&self.visits.0);
        inner.clock += 1;
        let now = inner.clock;
        if let Some(visit) = inner.open.get_mut(&self.number) {
            visit.granted = Some(now);
        }
    }

    /// Returns when the connection must be closed in favour of another one.
    pub(super) async fn ended(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.visits.0).open.remove(&self.number);
    }
}

/// The machines that sent wrong tokens recently.
#[derive(Default)]
pub(super) struct Wrong(Mutex<HashMap<IpAddr, Offences>>);

#[derive(Clone, Copy)]
struct Offences {
    count: u32,
    last: Instant,
    /// When it was last logged.
    logged: Option<Instant>,
}

/// The consequence of a wrong token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Penalty {
    /// The delay of the answer.
    pub delay: Duration,
    /// The number of wrong tokens, if it must be logged now.
    pub to_log: Option<u32>,
}

impl Wrong {
    /// Counts a wrong token.
    pub(super) fn note(&self, from: IpAddr, now: Instant) -> Penalty {
        let mut all = lock(&self.0);
        let peer = machine(from);
        if all.len() >= REMEMBERED && !all.contains_key(&peer) {
            let oldest = all.iter().min_by_key(|(_, known)| known.last);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                all.remove(&oldest);
            }
        }
        let known = all.entry(peer).or_insert(Offences {
            count: 0,
            last: now,
            logged: None,
        });
        if now.duration_since(known.last) > FORGOTTEN {
            known.count = 0;
        }
        known.count = known.count.saturating_add(1);
        known.last = now;
        let is_due = known
            .logged
            .is_none_or(|logged| now.duration_since(logged) >= LOG_EVERY);
        if is_due {
            known.logged = Some(now);
        }
        Penalty {
            delay: FIRST_DELAY
                .saturating_mul(1 << (known.count - 1).min(10))
                .min(LONGEST_DELAY),
            to_log: is_due.then_some(known.count),
        }
    }
}

/// Returns the machine behind an address: networks give each machine 64 bits of IPv6 addresses.
fn machine(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if !ip.is_loopback() => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_open(place: &Place) -> bool {
        !place.end.is_cancelled()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn idle_connections_make_way_before_used_ones() {
        let visits = Visits::default();
        let browser = visits.enter(ip("127.0.0.1"));
        browser.grant();
        let idle: Vec<Place> = (0..10 * OF_PEER)
            .map(|_| visits.enter(ip("127.0.0.1")))
            .collect();
        assert!(is_open(&browser));
        assert_eq!(
            idle.iter().filter(|place| is_open(place)).count(),
            OF_PEER - 1
        );
        assert!(is_open(idle.last().unwrap()) && !is_open(&idle[0]));
        // Connections in use are closed last, and the one with the oldest request first among them.
        let used: Vec<Place> = (0..OF_PEER)
            .map(|_| {
                let place = visits.enter(ip("127.0.0.1"));
                place.grant();
                place
            })
            .collect();
        assert!(!is_open(&browser) && used.iter().all(is_open));
        drop((idle, used));
        assert!(lock(&visits.0).open.is_empty());
    }

    #[test]
    fn many_machines_cannot_close_it_either() {
        let visits = Visits::default();
        let author = visits.enter(ip("192.168.1.2"));
        author.grant();
        let flood: Vec<Place> = (0..1000u16)
            .map(|number| {
                let [high, low] = number.to_be_bytes();
                visits.enter(IpAddr::from([10, 0, high, low]))
            })
            .collect();
        assert!(is_open(&author));
        assert_eq!(lock(&visits.0).open.len(), ALL);
        assert!(is_open(flood.last().unwrap()));
        visits.make_room();
        assert!(is_open(&author));
        // All addresses of one IPv6 network are counted as one machine.
        let one: Vec<Place> = (0..=OF_PEER)
            .map(|number| visits.enter(ip(&format!("2001:db8::{number:x}"))))
            .collect();
        assert!(!is_open(&one[0]) && is_open(&one[1]));
    }

    #[test]
    fn wrong_tokens_take_longer_each_time_and_are_logged_now_and_then() {
        let wrong = Wrong::default();
        let begun = Instant::now();
        let note = |address, seconds| wrong.note(ip(address), begun + Duration::from_secs(seconds));
        let penalty = |ms, to_log| Penalty {
            delay: Duration::from_millis(ms),
            to_log,
        };
        assert_eq!(note("192.168.1.7", 0), penalty(200, Some(1)));
        assert_eq!(note("192.168.1.7", 1), penalty(400, None));
        assert_eq!(note("192.168.1.8", 1), penalty(200, Some(1)));
        for _ in 0..100 {
            note("192.168.1.7", 2);
        }
        assert_eq!(note("192.168.1.7", 61), penalty(5000, Some(103)));
        assert_eq!(note("192.168.1.7", 1000), penalty(200, Some(1)));
        for number in 0..5000u16 {
            let [high, low] = number.to_be_bytes();
            wrong.note(IpAddr::from([10, 0, high, low]), begun);
        }
        assert!(lock(&wrong.0).len() <= REMEMBERED);
    }
}
