//! Who may begin a handshake. A stranger's handshake costs memory for as long as it lasts, and nobody knows before its end
//! whether it is a stranger's: so a few are let in at once, more only from addresses that were proved, and from one
//! address no more than its share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use rustle_protocol::endpoint::Arrival;

/// Handshakes at once from addresses that nobody has proved to be theirs. More are asked for proof, which costs a round
/// trip.
const UNPROVED_MAX: usize = 16;

/// Handshakes at once from one proved address: a controller has one for each run.
const PER_ADDRESS_MAX: usize = 16;

/// Handshakes at once in all. A handshake is bounded by the idle time-out and by some 100 KiB of memory.
const HANDSHAKES_MAX: usize = 128;

/// Handshakes under way, by where they come from; what is not proved is under no address.
#[derive(Debug, Default)]
pub(super) struct Door {
    by_address: HashMap<Option<IpAddr>, usize>,
}

/// What to do with somebody at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Begin, and [`leave`](Door::leave) with this once the handshake is over.
    Begin(Option<IpAddr>),
    AskForProof,
    Refuse,
}

impl Door {
    pub(super) fn knock(&mut self, arrival: &Arrival) -> Answer {
        self.answer(arrival.is_address_proved().then(|| arrival.address().ip()))
    }

    fn answer(&mut self, proved: Option<IpAddr>) -> Answer {
        let address = proved.map(network);
        let under_way: usize = self.by_address.values().sum();
        let of_its_own = self.by_address.get(&address).copied().unwrap_or(0);
        match address {
            None if of_its_own >= UNPROVED_MAX => Answer::AskForProof,
            Some(_) if of_its_own >= PER_ADDRESS_MAX => Answer::Refuse,
            _ if under_way >= HANDSHAKES_MAX => Answer::Refuse,
            _ => {
                self.by_address.insert(address, of_its_own + 1);
                Answer::Begin(address)
            }
        }
    }

    pub(super) fn leave(&mut self, address: Option<IpAddr>) {
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

/// What one party has: a single IPv4 address, or half of IPv6's.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn those_who_prove_nothing_fill_their_own_places_only() {
        let mut door = Door::default();
        for _ in 0..UNPROVED_MAX {
            assert_eq!(door.answer(None), Answer::Begin(None));
        }
        assert_eq!(door.answer(None), Answer::AskForProof);
        assert_eq!(door.answer(ip("192.0.2.1")), Answer::Begin(ip("192.0.2.1")));
        door.leave(None);
        assert_eq!(door.answer(None), Answer::Begin(None));
    }

    #[test]
    fn one_address_takes_no_more_than_its_share() {
        let mut door = Door::default();
        for _ in 0..PER_ADDRESS_MAX {
            assert_eq!(door.answer(ip("2001:db8::1")), Answer::Begin(ip("2001:db8::")));
        }
        assert_eq!(door.answer(ip("2001:db8::2")), Answer::Refuse, "the same network");
        assert_eq!(door.answer(ip("::ffff:192.0.2.1")), Answer::Begin(ip("192.0.2.1")));
        (0..PER_ADDRESS_MAX).for_each(|_| door.leave(ip("2001:db8::")));
        assert_eq!(door.by_address.len(), 1);
    }

    #[test]
    fn all_together_there_are_never_more_than_the_most() {
        let mut door = Door::default();
        let begun =
            (0..1_000u32).filter(|n| matches!(door.answer(Some(IpAddr::from(n.to_be_bytes()))), Answer::Begin(_)));
        assert_eq!(begun.count(), HANDSHAKES_MAX);
    }
}
