//! The servers of these tests, and the application between them.

use http::Uri;
use tower_outbound_proxy::{ProxySettings, error::BoxError};
use tower_outbound_proxy_lab::{Files, within};

use crate::{
    app::{
        connections::Connection,
        outbound::{self, Outbound},
        settings::{self, Settings, trust},
    },
    site::Site,
};

pub struct Lab {
    pub site: Site,
}

impl Lab {
    pub async fn start() -> Self {
        let site = Site::start().await.unwrap();
        Self { site }
    }

    /// Returns settings from these variables, with trust in this lab's targets.
    pub fn settings(&self, variables: &[(&str, &str)]) -> Settings {
        Settings {
            target_tls: Some(trust(self.site.public.pem().as_bytes()).unwrap()),
            ..environment(variables)
        }
    }

    /// Returns settings that also trust the lab's TLS proxy.
    pub fn trusting_the_proxy(&self, variables: &[(&str, &str)]) -> Settings {
        Settings {
            proxy_tls: Some(trust(self.site.proxies.ca.pem().as_bytes()).unwrap()),
            ..self.settings(variables)
        }
    }

    /// Starts the application in this lab's network.
    pub fn outbound(&self, variables: &[(&str, &str)]) -> Outbound {
        self.outbound_with(&self.settings(variables))
    }

    pub fn outbound_with(&self, settings: &Settings) -> Outbound {
        outbound::over(settings, self.site.network.clone()).unwrap()
    }

    /// Returns the peer that reached a target, as the servers saw it. Asserts that the target answers as it should, and
    /// that the application reports the same route.
    pub async fn reached(&self, outbound: &Outbound, connection: Connection, url: &str) -> String {
        let uri: Uri = url.parse().unwrap();
        let call = self.site.by_whom(uri.host().unwrap(), outbound.call(connection, &uri));
        let (by_whom, answer) = within(call).await.unwrap();
        let answer = answer.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = match connection {
            Connection::Redis => "+PONG",
            _ => "200 OK",
        };
        assert_eq!((&*answer.status, answer.is_of_target), (status, true), "{url}");
        let told = answer.route.proxy().map(|proxy| proxy.host());
        assert_eq!(told.unwrap_or("direct".to_owned()), by_whom, "{url}");
        by_whom
    }

    /// Returns the peer that failed to reach a target, and the error.
    pub async fn failed(&self, outbound: &Outbound, connection: Connection, url: &str) -> (String, BoxError) {
        let uri: Uri = url.parse().unwrap();
        let call = self.site.by_whom(uri.host().unwrap(), outbound.call(connection, &uri));
        let (by_whom, answer) = within(call).await.unwrap();
        (by_whom, answer.unwrap_err())
    }

    pub fn connections_to_proxies(&self) -> usize {
        let proxies = self.site.proxies.all();
        proxies.iter().map(|(_, proxy)| proxy.connections_opened()).sum()
    }

    #[track_caller]
    pub fn assert_targets_know_no_password(&self) {
        let received = self.site.received();
        assert!(received.contains("GET / HTTP/1.1"), "{received}");
        assert_no_password(&received);
        assert!(!received.to_lowercase().contains("proxy-authorization"), "{received}");
    }
}

/// Asserts that neither form of the password is in the text, with either user.
#[track_caller]
pub fn assert_no_password(text: &str) {
    for secret in ["PASSWORD", "VVNFUk5BTUU6UEFTU1dPUkQ", "cGFscG86UEFTU1dPUkQ"] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// Returns settings from these variables.
pub fn environment(variables: &[(&str, &str)]) -> Settings {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Settings {
        environment: Some(variables.iter().map(owned).collect()),
        ..Settings::default()
    }
}

/// Returns the settings of a file with this name and content.
pub fn file(name: &str, content: &str) -> ProxySettings {
    let files = Files::new();
    settings::read(files.write(name, content).as_ref()).unwrap()
}
