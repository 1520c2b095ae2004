//! Promise: a check finds in one run what people found in public issues the hard way. Names, hosts and addresses are
//! replaced by ones for documentation.

#![allow(clippy::unwrap_used)] // helpers of tests are tests, too

use tower_outbound_proxy::{
    Dialect, Scheme,
    check::{Check, Finding, Leftover},
};

/// Returns the check of a configuration, which is odd and whose texts show no password.
#[track_caller]
fn check(vars: &[(&str, &str)]) -> Check {
    let check = Check::from_vars(vars.iter().copied());
    assert!(check.is_odd(), "{check:?}");
    let texts = format!("{check:?}{:?}", texts(&check));
    assert!(!texts.contains("secret"), "{texts}");
    check
}

fn texts(check: &Check) -> Vec<String> {
    check.findings().iter().map(ToString::to_string).collect()
}

/// Returns the dialects in which an entry matches nothing.
#[track_caller]
fn never(check: &Check, entry: &str) -> Vec<Dialect> {
    let never = check.findings().iter().filter_map(|finding| match finding {
        Finding::Never {
            entry: of, programs, ..
        } if of.as_str() == entry => Some(programs.dialects()),
        _ => None,
    });
    never.flatten().copied().collect()
}

#[track_caller]
fn assert_leftover(check: &Check, expected: Leftover) {
    let is_expected =
        |finding: &Finding| matches!(finding, Finding::Leftover { leftover, .. } if *leftover == expected);
    assert!(check.findings().iter().any(is_expected), "{:#?}", texts(check));
}

/// curl/curl#12120: curl resolves names of `http` targets itself, although `HTTP_PROXY` is set.
#[test]
fn upper_case_http_proxy_is_not_read_by_curl() {
    let proxy = "http://192.0.2.252:3128";
    let check = check(&[("HTTPS_PROXY", proxy), ("HTTP_PROXY", proxy)]);
    let Some(Finding::Unread {
        variable,
        programs,
        set,
        ..
    }) = check.findings().first()
    else {
        panic!("{:#?}", texts(&check));
    };
    assert_eq!(
        (variable.as_str(), set.join(",").as_str()),
        ("HTTP_PROXY", "http_proxy")
    );
    assert!(
        programs.contains(Dialect::Curl) && !programs.contains(Dialect::Go),
        "{programs}"
    );
}

/// axios/axios#2864: a subdomain is proxied although `*.` of its domain is listed. The advice there is a leading dot;
/// with the name alone, the programs agree.
#[test]
fn a_star_is_no_wildcard_for_all() {
    let list = "*.example.com";
    let proxy = "http://proxy.example:8080";
    let check = check(&[("HTTP_PROXY", proxy), ("NO_PROXY", list), ("no_proxy", list)]);
    assert!(never(&check, list).contains(&Dialect::Curl), "{:#?}", texts(&check));
    let suggestion = check.suggestion().unwrap();
    assert_eq!(suggestion.list(), "example.com,localhost,127.0.0.1");
    assert!(suggestion.programs().is_all());
}

/// kubernetes-client/javascript#233: a Node client uses the proxy for an address of a listed network. The address alone
/// works.
#[test]
fn a_network_is_not_read_by_node() {
    let proxy = "http://proxy.example:3128";
    let vars = |list| [("http_proxy", proxy), ("https_proxy", proxy), ("no_proxy", list)];
    let network = check(&vars("localhost,127.0.0.1,10.96.0.0/12"));
    let programs = never(&network, "10.96.0.0/12");
    assert!(
        programs.contains(&Dialect::Undici) && !programs.contains(&Dialect::Go),
        "{:#?}",
        texts(&network)
    );
    let suggestion = network.suggestion().unwrap();
    assert_eq!(suggestion.blocking(), ["10.96.0.0/12"]);
    assert!(!suggestion.programs().contains(Dialect::Undici) && suggestion.programs().contains(Dialect::Go));
    let address = Check::from_vars(vars("localhost,127.0.0.1,10.96.0.1"));
    assert!(!address.is_odd(), "{:#?}", texts(&address));
}

/// golang/go#30293: a proxy variable ends with CR LF.
#[test]
fn a_line_end_stays_in_a_value() {
    assert_leftover(
        &check(&[("http_proxy", "http://192.0.2.1:8080\r\n")]),
        Leftover::LineEnd,
    );
}

/// hashicorp/consul-template#132: a Dockerfile has quotation marks in `ENV http_proxy`.
#[test]
fn quotation_marks_stay_in_a_value() {
    assert_leftover(&check(&[("http_proxy", "\"http://web-proxy:8080\"")]), Leftover::Quotes);
}

/// SUSE/caasp-salt#80: a unit file sets the variables to two quotation marks, which are not empty values.
#[test]
fn two_quotation_marks_are_a_value() {
    let check = check(&[("HTTP_PROXY", "\"\""), ("HTTPS_PROXY", "\"\""), ("NO_PROXY", "\"\"")]);
    assert_leftover(&check, Leftover::Quotes);
    // Without them, nothing is set.
    assert_eq!(check.findings().len(), 3, "{:#?}", texts(&check));
}

/// angstwad/docker.ubuntu#191: one pair of quotation marks makes three settings the value of one.
#[test]
fn three_settings_become_one() {
    let value = "http://proxy.example:8888 HTTPS_PROXY=http://proxy.example:8888 NO_PROXY=registry.example,localhost";
    let check = check(&[("HTTP_PROXY", value)]);
    assert_leftover(&check, Leftover::Several);
}

/// guzzle/guzzle#1677: an `@` in a password, which curl takes for the begin of the host.
#[test]
fn an_at_sign_in_a_password_is_not_encoded() {
    let check = check(&[("http_proxy", "http://login:secret@mail.example@192.0.2.1:80")]);
    assert!(matches!(&check.findings()[0], Finding::Password { variable, .. } if variable == "http_proxy"));
}

/// apify/got-scraping#55: a `%` in a password, which is no percent-encoding.
#[test]
fn a_percent_sign_in_a_password_is_not_encoded() {
    let check = check(&[("http_proxy", "http://user:secret%6q@192.0.2.1:8888")]);
    assert!(
        matches!(&check.findings()[0], Finding::Password { .. }),
        "{:#?}",
        texts(&check)
    );
}

/// hareku/fanbox-dl#30: only `HTTP_PROXY` is set, and all requests are `https`.
#[test]
fn one_proxy_is_not_for_https() {
    let check = check(&[("HTTP_PROXY", "http://192.0.2.1:9999")]);
    // Node takes the same proxy for both.
    let is_https = |finding: &Finding| match finding {
        Finding::Unread {
            schemes, programs, set, ..
        } => *schemes == [Scheme::Https] && programs.contains(Dialect::Go) && *set == ["https_proxy"],
        _ => false,
    };
    assert!(check.findings().iter().any(is_https), "{:#?}", texts(&check));
}

/// actions/runner#759: port 80 was stripped from the proxies, and programs connect to other ports without it.
#[test]
fn a_proxy_without_a_port_has_several() {
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"];
    let check = check(&names.map(|name| (name, "http://proxy.example/")));
    let is_port = |finding: &Finding| match finding {
        Finding::DefaultPort { variable, ports, .. } => variable == "http_proxy" && ports.len() > 1,
        _ => false,
    };
    assert!(check.findings().iter().any(is_port), "{:#?}", texts(&check));
}

/// docker/docs#13089: `https://` in `HTTPS_PROXY`, for a proxy that speaks plain HTTP.
#[test]
fn the_scheme_of_the_targets_is_not_that_of_the_proxy() {
    let check = check(&[
        ("http_proxy", "http://192.0.2.12:3128"),
        ("https_proxy", "https://192.0.2.12:3128"),
    ]);
    assert!(
        check
            .findings()
            .iter()
            .any(|finding| matches!(finding, Finding::TlsAndPlain { .. })),
        "{:#?}",
        texts(&check)
    );
}

/// kentik/ktranslate#622: backslashes in place of slashes.
#[test]
fn backslashes_are_no_slashes() {
    let check = check(&[
        ("HTTP_PROXY", "http:\\\\proxy.example:80"),
        ("HTTPS_PROXY", "https:\\\\proxy.example:443"),
    ]);
    assert!(
        matches!(&check.findings()[0], Finding::Unusable { .. }),
        "{:#?}",
        texts(&check)
    );
}

/// safedep/pmg#340: `[::1]` stops Python's httpx, and Node needs it.
#[test]
fn brackets_around_an_address_are_not_read_by_all() {
    let proxy = "http://192.0.2.1:8080";
    let list = "localhost,127.0.0.1,[::1]";
    let check = check(&[("http_proxy", proxy), ("https_proxy", proxy), ("no_proxy", list)]);
    assert!(never(&check, "[::1]").contains(&Dialect::Curl), "{:#?}", texts(&check));
}

/// rancher/rancher#7095: a URL in place of a host.
#[test]
fn a_url_is_no_entry() {
    let proxy = "http://192.0.2.1:8080";
    let check = check(&[
        ("http_proxy", proxy),
        ("https_proxy", proxy),
        ("NO_PROXY", "https://internal.example"),
    ]);
    assert!(
        never(&check, "https://internal.example").contains(&Dialect::Standard),
        "{:#?}",
        texts(&check)
    );
    assert_eq!(
        check.suggestion().unwrap().list(),
        "internal.example,localhost,127.0.0.1"
    );
}

/// k3s-io/k3s#1873: networks with host bits, and `*.svc`.
#[test]
fn a_cluster_s_list_has_no_common_meaning() {
    let proxy = "http://192.0.2.1:8080";
    let list = "192.168.2.203/24,172.17.0.1/16,10.0.0.0/8,127.0.0.0/8,172.16.0.0/12,192.168.0.0/16,*.svc";
    let check = check(&[("http_proxy", proxy), ("https_proxy", proxy), ("no_proxy", list)]);
    assert!(never(&check, "*.svc").contains(&Dialect::Curl), "{:#?}", texts(&check));
    assert!(
        never(&check, "10.0.0.0/8").contains(&Dialect::Undici),
        "{:#?}",
        texts(&check)
    );
    let suggestion = check.suggestion().unwrap();
    assert!(
        !suggestion.programs().is_all() && suggestion.list().ends_with(",svc,localhost,127.0.0.1"),
        "{suggestion:?}"
    );
}

/// kubernetes/kubernetes#97704: the networks of services are listed, and a service's name is not.
#[test]
fn a_network_is_not_for_names() {
    let proxy = "http://corporate.example";
    let list = "localhost,127.0.0.1,192.168.0.1/24,10.96.0.0/12,172.16.0.0/16";
    let check = check(&[("http_proxy", proxy), ("https_proxy", proxy), ("no_proxy", list)]);
    let text = "entry 3 `192.168.0.1/24` of no_proxy is for URLs with an address: no program looks up a name to compare \
                its address (list the names too)";
    assert!(texts(&check).iter().any(|found| found == text), "{:#?}", texts(&check));
}
