//! Palpo's "Using Forward/Outbound Proxies" on variables, proxy addresses, and connections that use them.

use tower_outbound_proxy::error::BoxError;

use super::{check::Demo, environment, outbound};
use palpo::site::EXAMPLES;

pub(super) async fn the_environment(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let settings = environment(demo.site, &EXAMPLES)?;
    let title = "the document's examples in the environment, and its list of connections";
    let rows = "
        push                |  | proxy.example.com | 200
        url-preview         |  | 10.0.1.1          | 200
        statistics          |  | proxy.example.com | 200
        recaptcha           |  | proxy.example.com | 200
        cas                 |  | 10.0.1.1          | 200
        openid-connect      |  | proxy.example.com | 200
        federation          |  | proxy.example.com | 200
        key-revocation      |  | proxy.example.com | 200
        server-keys         |  | proxy.example.com | 200
        remote-media        |  | proxy.example.com | 200
        application-service |  | direct            | 200
        identity-server     |  | direct            | 200
        worker              |  | direct            | 200
        redis               |  | direct            | +PONG
        federation          | https://master.hostname.example.com/ | direct | 200
        cas                 | http://10.1.0.5/                     | direct | 200
        openid-connect      | http://172.30.0.5/                   | direct | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let spelled = EXAMPLES.map(|(name, value)| (spell(name), value));
    let spelled: Vec<_> = spelled.iter().map(|(name, value)| (&**name, *value)).collect();
    let title = "the same variables as Http_Proxy, Https_Proxy, No_Proxy";
    let rows = "
        url-preview         |  | 10.0.1.1          | 200
        push                |  | proxy.example.com | 200
        federation          | https://master.hostname.example.com/ | direct | 200";
    let settings = environment(demo.site, &spelled)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let title = "without http_proxy, and so without a proxy for HTTP";
    let rows = "
        url-preview         |  | direct            | 200
        push                |  | proxy.example.com | 200";
    let settings = environment(demo.site, &EXAMPLES[1..])?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    Ok(())
}

/// Spells `HTTP_PROXY` as `Http_Proxy`.
fn spell(name: &str) -> String {
    let words = name
        .split('_')
        .map(|word| word[..1].to_owned() + &word[1..].to_lowercase());
    words.collect::<Vec<_>>().join("_")
}

pub(super) async fn the_blacklist(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let settings = environment(demo.site, &EXAMPLES)?;
    let title = "the IP blacklist, which is for direct connections to what strangers name";
    let rows = "
        url-preview         | http://10.1.0.5/                     | nobody   | the address 10.1.0.5 is denied
        url-preview         | http://10.2.0.9/                     | 10.0.1.1 | 200
        remote-media        | http://printer.internal.example.com/ | 10.0.1.1 | 200
        identity-server     | http://10.1.0.5/                     | nobody   | the address 10.1.0.5 is denied
        cas                 | http://10.1.0.5/                     | direct   | 200";
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;
    Ok(())
}

pub(super) async fn the_address(demo: &mut Demo<'_>) -> Result<(), BoxError> {
    let title = "an address without scheme and port: http, 1080";
    let variables = [("http_proxy", "USERNAME:PASSWORD@plain.example.com")];
    let rows = "url-preview | | plain.example.com | 200";
    let settings = environment(demo.site, &variables)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    let title = "an address without user and password, of a proxy that wants them";
    let variables = [
        ("http_proxy", "plain.example.com"),
        ("https_proxy", "plain.example.com"),
    ];
    let rows = "
        url-preview         |  | plain.example.com, not the target | 407
        push                |  | plain.example.com, not the target | 407";
    let settings = environment(demo.site, &variables)?;
    demo.rows(title, &outbound(demo.site, &settings)?, rows).await?;

    demo.show("\naddresses that cannot be used\n");
    for (name, value, reason) in [
        ("HTTP_PROXY", "socks5://USERNAME:PASSWORD@10.0.1.1", "`socks5`"),
        ("https_proxy", "socks4://10.0.1.1:1080", "`socks4`"),
        ("HTTPS_PROXY", "ftp://proxy.example.com", "`ftp`"),
        ("HTTP_PROXY", "http://10.0.1.1:http", "port"),
    ] {
        let error = environment(demo.site, &[(name, value)])?.config().err();
        let text = error.map_or_else(String::new, |error| error.to_string());
        demo.fact(&text, text.starts_with(name) && text.contains(reason));
    }
    Ok(())
}
