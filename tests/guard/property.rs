//! Law: for every policy, target and DNS answer, no address is dialled that the policy's check denies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use proptest::prelude::*;
use tower::{Layer, ServiceExt};
use tower_outbound_proxy::{
    IpPolicy, Target,
    guard::{GuardLayer, GuardedResolver},
};

use super::{Names, Recorder, guarded};

/// Generates addresses, mostly around the edges of denied networks.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        any::<u32>(),
        (0u32..1 << 16).prop_map(|low| 0x0a00_0000 | low),
        (0u32..1 << 8).prop_map(|low| 0x7f00_0000 | low),
        (0u32..1 << 8).prop_map(|low| 0xc000_0000 | low),
    ]
    .prop_map(Ipv4Addr::from);
    let embedding = prop_oneof![Just(0u128), Just(0xffff << 32), Just(0x64_ff9b << 96), any::<u128>()];
    let v6 = (embedding, v4.clone()).prop_map(|(high, low)| Ipv6Addr::from(high | u128::from(u32::from(low))));
    let six_to_four = v4
        .clone()
        .prop_map(|v4| Ipv6Addr::from(0x2002 << 112 | u128::from(u32::from(v4)) << 80));
    prop_oneof![
        v4.prop_map(IpAddr::V4),
        v6.prop_map(IpAddr::V6),
        six_to_four.prop_map(IpAddr::V6)
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    (address(), 0u8..=128).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(most)).unwrap()
    })
}

fn policy() -> impl Strategy<Value = IpPolicy> {
    let networks = || proptest::collection::vec(network(), 0..3);
    (any::<bool>(), networks(), networks(), any::<bool>()).prop_map(|(preset, denied, allowed, named)| {
        let mut policy = IpPolicy::builder().deny(denied).allow(allowed);
        if preset {
            policy = policy.special_purpose();
        }
        if named {
            policy = policy.allow_hosts("named.test:80, 10.0.0.7");
        }
        policy.build().unwrap()
    })
}

/// Generates an address in one of many spellings.
fn host() -> impl Strategy<Value = String> {
    let spelled = (address(), 0..6).prop_map(|(address, spelling)| match address {
        IpAddr::V6(v6) if spelling % 2 == 0 => format!("[{v6}]"),
        IpAddr::V6(v6) => format!("[{}]", v6.segments().map(|part| format!("{part:04X}")).join(":")),
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            match spelling {
                0 => v4.to_string(),
                1 => bits.to_string(),
                2 => format!("{bits:#x}"),
                3 => format!("0{:o}.{}", bits >> 24, bits & 0xff_ffff),
                4 => format!("{v4}."),
                _ => format!("[::ffff:{v4}]"),
            }
        }
    });
    prop_oneof![
        2 => spelled,
        1 => Just("x.test".to_owned()),
        1 => Just("named.test".to_owned()),
    ]
}

proptest! {
    #[test]
    fn no_denied_address_is_dialled(
        policy in policy(),
        host in host(),
        port in prop_oneof![Just(""), Just(":80"), Just(":8080")],
        answer in proptest::collection::vec((address(), prop_oneof![Just(0u16), Just(80)]), 0..4),
    ) {
        let answer: Vec<_> = answer.into_iter().map(SocketAddr::from).map(|address| address.to_string()).collect();
        let names = Names::new([&*answer.join(" ")]);
        let connector = Recorder::default();
        let uri: http::Uri = format!("http://{host}{port}/").parse().unwrap();
        let layer = GuardLayer::new(policy.clone()).with_resolver(names.clone());
        let guard = guarded(layer.layer(connector.clone()));
        let dialled = tokio_test::block_on(guard.oneshot(uri.clone()));

        let target = Target::try_from(&uri).unwrap();
        let asked = connector.asked();
        prop_assert_eq!(dialled.is_ok(), !asked.is_empty());
        for asked in asked {
            let dialled: Target<'_> = asked.parse().unwrap();
            let address = dialled.ip().expect("an address is dialled");
            let named = match target.name() {
                Some(name) => format!("http://{name}:{}", dialled.port().unwrap()).parse().unwrap(),
                None => dialled,
            };
            prop_assert!(policy.check(&named, address).is_ok(), "{:?} for {}", asked, uri);
        }

        let resolved = tokio_test::block_on(
            GuardedResolver::with_resolver(policy.clone(), names).oneshot("x.test".parse().unwrap()),
        );
        let target: Target<'_> = "http://x.test".parse().unwrap();
        for address in resolved.into_iter().flatten() {
            prop_assert!(policy.check(&target, address.ip()).is_ok(), "{}", address);
        }
    }
}
