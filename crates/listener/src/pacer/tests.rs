//! Tests of the pace of callers.

use super::accounts::{MAX_OWNERS, MAX_PRINCIPALS, MAX_PRINCIPALS_PER_ORGANIZATION};
use super::*;

fn organization(number: u32) -> Payer {
    Owner::Organization(number.to_string()).into()
}

fn principal(number: u32) -> Payer {
    Payer::principal_of("1".to_owned(), number.to_string())
}

fn address(number: u32) -> Payer {
    Owner::Address(std::net::Ipv4Addr::from(number).into()).into()
}

fn pacer() -> ReadPacer {
    ReadPacer::new(Rate::per_second(100, 100).unwrap())
}

#[tokio::test(start_paused = true)]
async fn owner_within_its_rate_is_read_at_once() {
    let pacer = pacer();
    for _ in 0..10 {
        assert_eq!(pacer.charge(&organization(1), 100), None);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn connections_of_an_owner_beyond_its_rate_take_turns() {
    let pacer = pacer();
    assert_eq!(pacer.charge(&organization(1), 100), None);
    for turn in 1..=3 {
        let pause = Duration::from_millis(500) * turn;
        assert_eq!(pacer.charge(&organization(1), 50), Some(pause));
    }
    assert_eq!(pacer.charge(&organization(2), 100), None);
    // A refund takes effect at the next turn.
    pacer.charge(&organization(1), -100);
    let pause = Duration::from_secs(1);
    assert_eq!(pacer.charge(&organization(1), 50), Some(pause));
}

#[tokio::test(start_paused = true)]
async fn debt_of_an_owner_is_bounded() {
    let pacer = pacer();
    for _ in 0..1000 {
        let pause = pacer.charge(&organization(1), 1000).unwrap();
        assert!(pause >= MAX_PAUSE / 2 && pause <= MAX_PAUSE, "{pause:?}");
    }
    tokio::time::advance(MAX_PAUSE + Duration::from_secs(1)).await;
    assert_eq!(pacer.charge(&organization(1), 100), None);
}

#[tokio::test(start_paused = true)]
async fn many_addresses_together_have_a_rate() {
    let pacer = pacer();
    for number in 0..20 {
        assert_eq!(pacer.charge(&address(number), 50), None);
    }
    let pause = pacer.charge(&address(20), 50);
    assert_eq!(pause, Some(Duration::from_millis(50)));
    assert_eq!(pacer.charge(&organization(1), 100), None);
}

#[tokio::test(start_paused = true)]
async fn known_address_waits_for_its_own_debt_only() {
    let pacer = pacer();
    let ip = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
    pacer.set_known(ip(1));
    for number in 100..140 {
        pacer.charge(&address(number), 100);
    }
    assert!(pacer.charge(&address(2), 1).is_some());
    assert_eq!(pacer.charge(&address(1), 100), None);
    let pause = pacer.charge(&address(1), 50);
    assert_eq!(pause, Some(Duration::from_millis(500)));
    tokio::time::advance(KNOWN_TIME).await;
    for number in 100..140 {
        pacer.charge(&address(number), 100);
    }
    assert!(pacer.charge(&address(1), 1).is_some());
}

#[tokio::test(start_paused = true)]
async fn known_addresses_are_bounded_and_expired_ones_go_first() {
    let pacer = pacer();
    let ip = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
    let is_known = |number| {
        let state = pacer.state();
        assert!(state.known.until.len() <= MAX_KNOWN);
        state.known.contains(&ip(number), Instant::now())
    };
    let all = MAX_KNOWN as u32;
    (0..=all).for_each(|number| pacer.set_known(ip(number)));
    assert!(is_known(0) && is_known(all - 1) && !is_known(all));
    tokio::time::advance(KNOWN_TIME - REMOVAL_INTERVAL).await;
    pacer.set_known(ip(0));
    pacer.set_known(ip(all));
    assert!(is_known(0) && !is_known(all));
    tokio::time::advance(REMOVAL_INTERVAL).await;
    pacer.set_known(ip(all));
    assert!(is_known(0) && is_known(all) && !is_known(1));
    assert_eq!(pacer.state().known.until.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn accounts_are_bounded_and_further_owners_share_one() {
    let pacer = pacer();
    for number in 0..2 * MAX_OWNERS as u32 {
        pacer.charge(&organization(number), 100);
    }
    assert_eq!(pacer.state().accounts.owners.len(), MAX_OWNERS);
    assert!(pacer.charge(&organization(u32::MAX), 1).is_some());
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(pacer.charge(&organization(1), 1), None);
    assert!(pacer.state().accounts.owners.len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn principal_has_half_the_rate_of_its_organization() {
    let pacer = pacer();
    for _ in 0..10 {
        assert_eq!(pacer.charge(&principal(1), 50), None);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(pacer.charge(&principal(1), 50), None);
    let pause = Duration::from_millis(500);
    assert_eq!(pacer.charge(&principal(1), 25), Some(pause));
}

#[tokio::test(start_paused = true)]
async fn one_principal_never_delays_its_colleagues() {
    let pacer = pacer();
    for _ in 0..100 {
        for _ in 0..10 {
            pacer.charge(&principal(1), 1000);
        }
        assert!(pacer.charge(&principal(1), 1).is_some());
        assert_eq!(pacer.charge(&principal(2), 5), None);
        tokio::time::advance(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn principals_together_have_the_rate_of_the_organization() {
    let pacer = pacer();
    for number in 0..4 {
        assert_eq!(pacer.charge(&principal(number), 25), None);
    }
    let pause = Duration::from_millis(250);
    assert_eq!(pacer.charge(&principal(4), 25), Some(pause));
    assert_eq!(pacer.charge(&organization(2), 100), None);
    // That holds too while each of them is in debt.
    tokio::time::advance(Duration::from_secs(10)).await;
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(100)).await;
        for number in 0..4 {
            pacer.charge(&principal(number), 1000);
        }
    }
    assert!(pacer.charge(&principal(4), 1).is_some());
}

#[tokio::test(start_paused = true)]
async fn accounts_of_principals_are_bounded_and_then_shared() {
    let pacer = pacer();
    for number in 0..10_000 {
        pacer.charge(&principal(number), 1);
    }
    let most = MAX_PRINCIPALS_PER_ORGANIZATION;
    assert_eq!(pacer.state().accounts.principals, most);
    assert_eq!(pacer.state().accounts.owners.len(), 1);
    // A further one gets its own when the others have paid, and so do those of other organizations.
    tokio::time::advance(Duration::from_secs(4)).await;
    pacer.charge(&principal(most as u32 + 1), 50);
    assert_eq!(pacer.state().accounts.principals, 1);
    let other = Payer::principal_of("2".to_owned(), "1".to_owned());
    assert_eq!(pacer.charge(&other, 50), None);
    for organization in 0..MAX_OWNERS as u32 {
        for number in 0..3 {
            let (organization, number) = (organization.to_string(), number.to_string());
            pacer.charge(&Payer::principal_of(organization, number), 1);
        }
    }
    assert_eq!(pacer.state().accounts.principals, MAX_PRINCIPALS);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(pacer.charge(&other, 1), None);
    let state = pacer.state();
    let accounts = &state.accounts;
    assert_eq!((accounts.owners.len(), accounts.principals), (1, 1));
}
