//! Negotiate through Squid, with tickets of a KDC of MIT Kerberos.
//!
//! The list of tests names the users who are logged in; the last one is the default user. [`tokens`] has the cases in
//! which the proxy learns who they are, [`failures`] those in which it does not, and [`realm`] what both need.

mod failures;
mod realm;
mod tokens;

macro_rules! tests {
    ($cases:ident, $needs:literal: $($case:ident [$($user:literal)*])+) => {$(
        #[test]
        #[ignore = $needs]
        fn $case() {
            let test = concat!(module_path!(), "::", stringify!($case));
            realm::in_realm(test, &[$($user),*], $cases::$case);
        }
    )+};
}

tests! {
    tokens, "needs krb5kdc, kadmin.local, kinit and squid (krb5-kdc, krb5-admin-server, krb5-user, squid-openssl)":
    whoever_is_logged_in_is_known_to_the_proxy ["bob" "alice"]
    a_principal_is_chosen_among_those_logged_in ["alice" "bob"]
    a_body_goes_out_once ["alice"]
    the_layer_around_a_connector_opens_tunnels ["alice"]
    the_layer_around_another_client_cannot_wait ["alice"]
    twenty_requests_at_once ["alice"]
    two_identities_share_no_connection ["alice" "bob"]
    each_token_serves_once_and_for_one_proxy ["alice"]
    a_password_serves_beside_negotiate ["alice"]
}

tests! {
    tokens, "needs nghttpx as well (nghttp2-proxy)":
    tunnels_share_a_connection_over_http2 ["alice"]
}

tests! {
    failures, "needs krb5kdc, kadmin.local, kinit and squid (krb5-kdc, krb5-admin-server, krb5-user, squid-openssl)":
    without_a_ticket_the_error_says_how_to_get_one []
    an_expired_ticket_is_named []
    a_proxy_that_the_kdc_does_not_know_is_named ["alice"]
    a_token_that_the_proxy_refuses_is_sent_once ["alice"]
    a_kdc_that_is_down_is_named ["alice"]
    a_silent_kdc_holds_no_request_and_few_threads ["alice"]
}
