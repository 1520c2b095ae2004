//! Any text is a `NO_PROXY` list, in every dialect. Nothing panics, and strict reading rejects exactly the entries that
//! lenient reading reports.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_outbound_proxy::{Dialect, NoProxy, Target};

fuzz_target!(|list: &str| {
    let targets = [
        "http://a.test",
        "https://[2001:db8::1]:8443",
        "http://10.0.0.1",
        "http://[::1%25a.test]",
        "ftp://x.",
    ];
    let targets: [Target<'_>; 5] = targets.map(|url| url.parse().expect("a target"));
    for dialect in Dialect::ALL.iter().copied() {
        let lenient = NoProxy::lenient(list, dialect);
        let _ = format!("{lenient:?}");
        for rejected in lenient.rejected().iter().chain(lenient.malformed()) {
            let _ = format!("{rejected} {rejected:?}");
            assert!(rejected.position() > 0);
        }
        for entry in targets.iter().filter_map(|target| lenient.find(target)) {
            assert!(list.contains(entry.as_str()));
            assert!(
                lenient
                    .rejected()
                    .iter()
                    .all(|rejected| rejected.position() != entry.position())
            );
        }
        match NoProxy::strict(list, dialect) {
            Ok(_) => assert!(lenient.rejected().is_empty()),
            Err(error) => assert_eq!(error.entry(), lenient.rejected().first()),
        }
    }
});
