//! Promise: neither a long host, which a stranger chooses, nor a long list makes a decision slow; and settings of any
//! length are read and written in linear time.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use std::{hint::black_box, time::Duration};

use cpu_time::ThreadTime;
use serde_json::json;
use tower_outbound_proxy::{Dialect, NoProxy, ProxyConfig, ProxySettings, Target, config::Precedence};

/// Returns the factor by which the time of a run grows from the one to the other. It is the time on a processor, and
/// the least of several runs, so that nothing else on the machine counts.
fn growth([mut small, mut large]: [impl FnMut(); 2]) -> f64 {
    let mut least = [Duration::MAX; 2];
    for _ in 0..5 {
        for (index, run) in [&mut small as &mut dyn FnMut(), &mut large].into_iter().enumerate() {
            let started = ThreadTime::now();
            run();
            least[index] = started.elapsed().min(least[index]);
        }
    }
    least[1].as_secs_f64() / least[0].as_secs_f64()
}

fn list(entry: &dyn Fn(usize) -> String, length: usize) -> NoProxy {
    let list = (1..=length).map(entry).collect::<Vec<_>>().join(",");
    NoProxy::lenient(&list, Dialect::Standard)
}

/// Sixty times as many entries: a walk would take sixty times as long.
#[test]
fn a_look_up_does_not_depend_on_the_lists_length() {
    type Entry = dyn Fn(usize) -> String;
    let cases: [(&Entry, &str); 9] = [
        (&|port| format!("a.example:{port}"), "ftp://x.a.example"),
        (&|port| format!("a.example:{port}"), "https://a.example:65535"),
        (&|port| format!("a.example:{port}"), "https://x.a.example:1"),
        (&|_| ".a.example".to_owned(), "https://a.example"),
        (&|_| "a.example:80".to_owned(), "https://a.example"),
        (&|port| format!("10.0.0.1:{port}"), "https://10.0.0.1:65535"),
        (&|port| format!("[2001:db8::1]:{port}"), "https://[2001:db8::1]:65535"),
        (&|_| "10.0.0.0/8".to_owned(), "https://11.0.0.1"),
        (&|n| format!("n{n}.example"), "https://n65535.example"),
    ];
    for (entry, url) in cases {
        let lists = [1_000, 60_000].map(|length| list(entry, length));
        let target: Target<'_> = url.parse().unwrap();
        let look_up = |list: NoProxy| {
            let target = &target;
            move || {
                (0..500).for_each(|_| {
                    black_box(list.matches(black_box(target)));
                })
            }
        };
        let growth = growth(lists.map(look_up));
        assert!(growth < 15.0, "{}: {growth}", entry(1));
    }
}

/// Names that differ in a few characters only, wherever these stand: a hash that loses them puts the names into one
/// chain.
#[test]
fn a_look_up_does_not_depend_on_what_the_names_have_in_common() {
    let names = |end: &str| (0..4096).map(|n| format!("{n:03x}{end}")).collect::<Vec<_>>();
    let look_up = |end: &str| {
        let names = names(end);
        let list = NoProxy::lenient(&names.join(","), Dialect::Standard);
        let target = |name: &String| format!("http://{name}").parse::<Target<'_>>().unwrap();
        let targets: Vec<_> = names.iter().map(target).collect();
        move || {
            targets
                .iter()
                .for_each(|target| assert!(black_box(list.matches(target))))
        }
    };
    for end in [".test", ".a.test", ".ab.test", ".abc.test", ".lan", ".example.com"] {
        let growth = growth([look_up(".internal.example"), look_up(end)]);
        assert!(growth < 3.0, "{end}: {growth}");
    }
}

/// A host of 64 KB beside one of 1 KB, on lists that are compared one by one and on lists that are hashed.
#[test]
fn a_decision_does_not_depend_on_the_hosts_length() {
    let names = |count: usize| (0..count).map(|n| format!("n{n}.example"));
    for count in [8, 100] {
        let no_proxy: Vec<_> = names(count).collect();
        let include: Vec<_> = names(count).map(|name| format!("*.{name}")).collect();
        let proxies = vec![json!({ "url": "http://p", "include": include, "exclude": no_proxy }); 4];
        let settings: ProxySettings = serde_json::from_value(json!({ "by_domain": proxies })).unwrap();
        let config = ProxyConfig::builder()
            .vars([("ALL_PROXY", "http://p"), ("NO_PROXY", &no_proxy.join(","))])
            .settings(settings, Precedence::FileOverEnv)
            .build()
            .unwrap();
        let uris = [1_000, 64_000].map(|length| format!("http://{}z/", "a.".repeat(length / 2)));
        let targets = uris.each_ref().map(|uri| uri.parse::<Target<'_>>().unwrap());
        let decide = |target: Target<'static>| {
            let config = &config;
            move || (0..200).for_each(|_| drop(black_box(config.decide(black_box(&target)))))
        };
        let growth = growth(targets.map(decide));
        assert!(growth < 8.0, "{count} names: {growth}");
    }
}

/// Sixteen times as much: linear is 16, quadratic 256.
#[test]
fn settings_are_read_and_written_in_linear_time() {
    type Entry = dyn Fn(usize) -> String;
    let cases: [(&str, &Entry); 5] = [
        ("rejected", &|_| ":1".to_owned()),
        ("half rejected", &|n| {
            if n % 2 == 0 {
                ":1".to_owned()
            } else {
                format!("n{n}.example")
            }
        }),
        ("names", &|n| format!("n{n}.example")),
        ("repeated", &|_| "a.example".to_owned()),
        ("ports", &|n| format!("a.example:{n}")),
    ];
    for (what, entry) in cases {
        let texts = [2_000, 32_000].map(|length| (1..=length).map(entry).collect::<Vec<_>>().join(","));
        let read = |text: String| move || drop(black_box(NoProxy::lenient(&text, Dialect::Standard)));
        let reading = growth(texts.clone().map(read));
        assert!(reading < 80.0, "reading {what}: {reading}");
        let lists = texts.map(|text| NoProxy::lenient(&text, Dialect::Standard));
        let write = |list: NoProxy| move || drop(black_box(serde_json::to_string(&list).unwrap()));
        let writing = growth(lists.map(write));
        assert!(writing < 80.0, "writing {what}: {writing}");
    }
}
