//! Revocation lists: who may bring them, and that nobody comes back by an older one.

use proptest::prelude::*;
use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope};
use rustle_protocol::LoadedIdentity;
use rustle_protocol::trust::{Expected, PeerRefused, RevocationsRefused, Trust, TrustError, Validity};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::support::{Ca, DAY, Wish};

fn taken(us: &LoadedIdentity, list: CertificateRevocationListDer<'static>) -> LoadedIdentity {
    us.with_revocations(list).unwrap().expect("it revokes something new")
}

#[test]
fn a_longer_list_takes_the_place_of_a_shorter_one() {
    let ca = Ca::new();
    let us = taken(&ca.issue(&Wish::agent("web1")), ca.revoke(&[2]));
    let us = taken(&us, ca.revoke(&[2, 3]));
    assert_eq!(us.trust().revocation_lists().count(), 1);
    let third = ca.issue(&Wish { serial: 3, ..Wish::controller("ops") });
    let verdict = us.trust().verify(third.chain(), &Expected::Controller, UnixTime::now());
    assert!(matches!(verdict, Err(PeerRefused::Revoked { .. })));
}

#[test]
fn the_same_list_again_changes_nothing() {
    let ca = Ca::new();
    let us = taken(&ca.issue(&Wish::agent("web1")), ca.revoke(&[2]));
    assert!(us.with_revocations(ca.revoke(&[2])).unwrap().is_none());
}

#[test]
fn an_older_list_brings_nobody_back() {
    let ca = Ca::new();
    let us = taken(&ca.issue(&Wish::agent("web1")), ca.revoke(&[2, 3]));
    for older in [vec![], vec![2], vec![2, 4, 5, 6]] {
        assert_eq!(us.with_revocations(ca.revoke(&older)).unwrap_err(), RevocationsRefused::Older);
    }
}

#[test]
fn a_list_of_another_ca_is_not_taken() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let us = ours.issue(&Wish::agent("web1"));
    // Both CAs have the same subject, so only the signature tells.
    assert_eq!(us.with_revocations(theirs.revoke(&[2])).unwrap_err(), RevocationsRefused::NotSigned);
}

#[test]
fn a_list_that_has_answered_once_gives_the_same_answers_again() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let us = ours.issue_with(&Wish::agent("web1"), vec![ours.revoke(&[2])]);
    let judged = |ca: &Ca, serial| {
        let peer = ca.issue(&Wish { serial, ..Wish::controller("ops") });
        us.trust().verify(peer.chain(), &Expected::Controller, UnixTime::now()).map(|_identity| ())
    };
    for _ in 0..2 {
        assert_eq!(judged(&ours, 1), Ok(()));
        assert!(matches!(judged(&ours, 2), Err(PeerRefused::Revoked { .. })));
        // The CA of the same name signs neither our certificates nor our list.
        assert!(matches!(judged(&theirs, 1), Err(PeerRefused::OtherCa { .. })));
    }
}

#[test]
fn a_list_of_one_ca_does_not_answer_for_another_of_the_same_name() {
    let (old, new) = (Ca::new(), Ca::new());
    let cas = [old.certificate.clone(), new.certificate.clone()];
    let trust = Trust::new("demo".parse().unwrap(), &cas, vec![old.revoke(&[2])]).unwrap();
    let judged = |ca: &Ca| {
        let peer = ca.issue(&Wish::controller("ops"));
        trust.verify(peer.chain(), &Expected::Controller, UnixTime::now()).map(|_identity| ())
    };
    for _ in 0..2 {
        assert_eq!(judged(&old), Ok(()));
        assert!(judged(&new).is_err());
    }
}

#[test]
fn a_list_that_revokes_ourselves_is_taken() {
    let ca = Ca::new();
    let us = taken(&ca.issue(&Wish { serial: 9, ..Wish::agent("web1") }), ca.revoke(&[9]));
    assert!(matches!(us.problem_at(UnixTime::now()), Some(PeerRefused::Revoked { .. })));
}

#[test]
fn a_list_is_taken_even_when_our_own_certificate_has_expired() {
    let ca = Ca::new();
    let us = ca.issue(&Wish { valid_from: -10 * DAY, valid_until: -DAY, ..Wish::agent("web1") });
    assert!(matches!(us.problem_at(UnixTime::now()), Some(PeerRefused::Expired { .. })));
    taken(&us, ca.revoke(&[2]));
}

#[test]
fn a_flipped_bit_anywhere_in_a_list_fails_closed() {
    let ca = Ca::new();
    let us = ca.issue(&Wish::agent("web1"));
    let good = ca.revoke(&[2]);
    for byte in 0..good.len() {
        let mut bad = good.to_vec();
        bad[byte] ^= 0x10;
        assert!(us.with_revocations(bad.into()).is_err(), "byte {byte}");
    }
}

fn for_ca_certificates_only() -> Option<CrlIssuingDistributionPoint> {
    Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://crl.example.org/".to_owned()] },
        scope: Some(CrlScope::CaCertsOnly),
    })
}

#[test]
fn a_list_that_does_not_speak_for_the_peer_lets_nobody_in() {
    let ca = Ca::new();
    let partial = ca.revoke_within(&[2], for_ca_certificates_only());
    let us = ca.issue_with(&Wish::agent("web1"), vec![partial.clone()]);
    let peer = ca.issue(&Wish::controller("ops"));
    let verdict = us.trust().verify(peer.chain(), &Expected::Controller, UnixTime::now());
    assert!(matches!(verdict, Err(PeerRefused::RevocationUnknown(_))), "{verdict:?}");
    assert!(ca.issue(&Wish::agent("web1")).with_revocations(partial).is_err());
}

#[test]
fn odd_distribution_points_fail_closed() {
    let ca = Ca::new();
    let partial = ca.revoke_within(&[2], for_ca_certificates_only());
    let (fleet, peer) = ("demo".parse::<rustle_protocol::FleetName>().unwrap(), ca.issue(&Wish::controller("ops")));
    for byte in 0..partial.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut odd = partial.to_vec();
            odd[byte] ^= flip;
            let trust = Trust::new(fleet.clone(), std::slice::from_ref(&ca.certificate), [odd.into()]);
            let let_in =
                trust.is_ok_and(|trust| trust.verify(peer.chain(), &Expected::Controller, UnixTime::now()).is_ok());
            assert!(!let_in, "byte {byte} ^ {flip:#x}");
        }
    }
}

proptest! {
    #[test]
    fn garbage_is_no_revocation_list_and_no_ca(garbage in proptest::collection::vec(any::<u8>(), 0..600)) {
        let ca = Ca::new();
        let fleet: rustle_protocol::FleetName = "demo".parse().unwrap();
        let trust = Trust::new(fleet.clone(), std::slice::from_ref(&ca.certificate), [garbage.clone().into()]);
        prop_assert!(matches!(trust, Err(TrustError::Unreadable(_))));
        let garbage = CertificateDer::from(garbage);
        prop_assert!(Trust::new(fleet, std::slice::from_ref(&garbage), []).is_err());
        prop_assert_eq!(Validity::of(&garbage), None);
    }

    #[test]
    fn a_damaged_certificate_never_passes(at in 0usize..400, flip in 1u8..) {
        let ca = Ca::new();
        let us = ca.issue(&Wish::agent("web1"));
        let mut damaged = ca.issue(&Wish::controller("ops")).chain()[0].to_vec();
        let at = at % damaged.len();
        damaged[at] ^= flip;
        let verdict = us.trust().verify(&[damaged.into()], &Expected::Controller, UnixTime::now());
        prop_assert!(verdict.is_err(), "byte {}", at);
    }
}
