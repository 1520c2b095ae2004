//! The caller's own lists: addresses that are denied besides or instead of the preset, and exceptions.

use tower_outbound_proxy::{Dialect, IpPolicy, NoProxy, Target, guard::IpPolicyBuilder};

use super::ip;

fn nets<const N: usize>(networks: [&str; N]) -> [ipnet::IpNet; N] {
    networks.map(|network| network.parse().unwrap())
}

#[track_caller]
fn assert_allowed(policy: IpPolicyBuilder, target: &str, address: &str, allowed: bool) {
    let policy = policy.build().unwrap();
    let target: Target<'_> = target.parse().unwrap();
    let checked = policy.check(&target, ip(address));
    assert_eq!(checked.is_ok(), allowed, "{target} at {address}: {checked:?}");
}

#[test]
fn without_a_list_nothing_is_denied() {
    for address in ["127.0.0.1", "10.0.0.1", "::1", "255.255.255.255"] {
        assert_allowed(IpPolicy::builder(), "http://x.test", address, true);
    }
}

#[test]
fn what_is_denied_is_denied_in_every_form_that_leads_to_it() {
    for (network, address, allowed) in [
        ("10.0.0.0/8", "10.0.0.1", false),
        ("10.1.2.3/8", "10.9.9.9", false),
        ("10.0.0.0/8", "11.0.0.1", true),
        ("10.0.0.0/8", "::ffff:10.0.0.1", false),
        ("10.0.0.0/8", "64:ff9b::10.0.0.1", false),
        ("10.0.0.0/8", "64:ff9b::11.0.0.1", true),
        ("10.0.0.0/8", "2002:a00:1::1", false),
        ("10.0.0.0/8", "2002:b00:1::1", true),
        ("10.0.0.0/8", "::ffff:0:10.0.0.1", false),
        ("10.0.0.0/8", "::ffff:0:11.0.0.1", true),
        ("10.0.0.0/8", "::10.0.0.1", false),
        ("10.0.0.0/8", "::11.0.0.1", true),
        ("10.0.0.0/8", "64:ff9b:0:0:0:1:a00:1", true),
        ("::ffff:10.0.0.0/104", "10.0.0.1", false),
        ("::ffff:10.0.0.0/104", "11.0.0.1", true),
        ("8.8.8.8/32", "8.8.8.8", false),
        ("2000::/3", "2606:4700::1", false),
        ("2000::/3", "1.1.1.1", true),
        ("::/0", "1.1.1.1", true),
        ("::/0", "::ffff:1.1.1.1", true),
        // Addresses of IPv6 itself, not IPv4-compatible ones.
        ("0.0.0.0/8", "::", true),
        ("0.0.0.0/8", "::1", true),
    ] {
        let policy = IpPolicy::builder().deny(nets([network]));
        assert_allowed(policy, "http://x.test", address, allowed);
    }
    // Besides the preset, and where the registry calls it reachable.
    let policy = IpPolicy::builder().special_purpose().deny([ip("8.8.8.8")]);
    assert_allowed(policy.clone(), "http://x.test", "8.8.8.8", false);
    assert_allowed(policy.clone(), "http://x.test", "10.0.0.1", false);
    assert_allowed(policy, "http://x.test", "8.8.4.4", true);
    let policy = IpPolicy::builder().special_purpose().deny(nets(["192.0.0.0/24"]));
    assert_allowed(policy, "http://x.test", "192.0.0.9", false);
}

#[test]
fn the_callers_own_list_is_named_as_such() {
    let policy = IpPolicy::builder()
        .special_purpose()
        .deny(nets(["10.1.0.0/16"]))
        .build();
    let target: Target<'_> = "http://x.test".parse().unwrap();
    let denied = policy.unwrap().check(&target, ip("10.1.0.1")).unwrap_err();
    assert!(
        denied.to_string().ends_with(": 10.1.0.0/16 is on the deny list"),
        "{denied}"
    );
    assert_eq!(denied.purpose(), None);
}

#[test]
fn an_allowed_network_wins_over_what_denies_it() {
    let policy = || IpPolicy::builder().special_purpose().deny(nets(["10.1.2.0/24"]));
    for (network, address, allowed) in [
        ("10.1.0.0/16", "10.1.2.3", true),
        ("10.1.0.0/16", "10.2.0.1", false),
        ("10.1.0.0/16", "::ffff:10.1.2.3", true),
        ("::ffff:10.1.0.0/112", "10.1.2.3", true),
        // An exception is no wider than it says.
        ("10.1.0.0/16", "64:ff9b::10.1.2.3", false),
        ("10.1.0.0/16", "2002:a01:203::", false),
        ("10.1.0.0/16", "::10.1.2.3", false),
        ("64:ff9b::10.1.0.0/112", "64:ff9b::10.1.2.3", true),
        ("64:ff9b::10.1.0.0/112", "10.1.2.3", false),
        ("::1/128", "::1", true),
        ("::/0", "10.1.2.3", false),
        ("::/0", "::ffff:10.1.2.3", false),
    ] {
        assert_allowed(policy().allow(nets([network])), "http://x.test", address, allowed);
    }
    // In whichever order they are given.
    let policy = IpPolicy::builder().allow([ip("10.0.0.1")]).deny(nets(["10.0.0.0/8"]));
    assert_allowed(policy.clone(), "http://x.test", "10.0.0.1", true);
    assert_allowed(policy, "http://x.test", "10.0.0.2", false);
}

#[test]
fn hosts_are_excepted_by_name_by_address_and_with_a_port() {
    for (list, target, address, allowed) in [
        ("x.test", "http://x.test", "10.0.0.1", true),
        ("x.test", "http://X.test.", "10.0.0.1", true),
        ("x.test", "http://sub.x.test", "10.0.0.1", true),
        (".x.test", "http://x.test", "10.0.0.1", false),
        ("x.test", "http://y.test", "10.0.0.1", false),
        ("x.test:443", "https://x.test", "10.0.0.1", true),
        ("x.test:443", "http://x.test", "10.0.0.1", false),
        ("x.test:8080", "http://x.test:8080", "10.0.0.1", true),
        ("10.0.0.1", "http://y.test", "10.0.0.1", true),
        ("10.0.0.1", "http://y.test", "10.0.0.2", false),
        ("10.0.0.0/8", "http://y.test", "10.0.0.2", true),
        ("10.0.0.1:8080", "http://y.test:8080", "10.0.0.1", true),
        ("10.0.0.1:8080", "http://y.test", "10.0.0.1", false),
        ("10.0.0.1", "http://y.test", "::ffff:10.0.0.1", true),
        ("10.0.0.1", "http://y.test", "64:ff9b::10.0.0.1", false),
        ("10.0.0.1", "http://0xa.1", "10.0.0.1", true),
        // A target that is an excepted address excepts no other one.
        ("10.0.0.1", "http://10.0.0.1", "10.0.0.2", false),
        ("*", "http://y.test", "127.0.0.1", true),
        ("y.test x.test", "http://x.test", "10.0.0.1", true),
        ("", "http://x.test", "10.0.0.1", false),
    ] {
        let policy = IpPolicy::builder().special_purpose();
        assert_allowed(policy.clone().allow_hosts(list), target, address, allowed);
        // Called again, it adds.
        assert_allowed(policy.allow_hosts(list).allow_hosts("z.test"), target, address, allowed);
    }
}

#[test]
fn an_exception_that_can_match_nothing_is_an_error_unless_it_was_read_leniently() {
    let error = IpPolicy::builder()
        .allow_hosts("x.test, 10.0.0.0/33")
        .build()
        .unwrap_err();
    assert_eq!(error.setting(), Some("allow_hosts"));
    assert_eq!(error.entry().unwrap().position(), 2);
    assert_eq!(
        error.to_string(),
        "allow_hosts: entry 2 `10.0.0.0/33` matches nothing: the prefix is longer than the address"
    );
    let lenient = NoProxy::lenient("10.0.0.0/33, x.test", Dialect::Standard);
    let policy = IpPolicy::builder().special_purpose().allow_hosts(lenient);
    assert_allowed(policy, "http://x.test", "10.0.0.1", true);
}
