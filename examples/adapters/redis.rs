//! Redis through a proxy: the `redis` crate over a raw tunnel to a real `redis-server`.
//!
//! A raw tunnel is a stream for any protocol, and every client that takes a stream can use it in this way, such as
//! `tokio-postgres` with `Config::connect_raw`. Its proxy is that of `ALL_PROXY`.
//!
//! ```text
//! cargo run --manifest-path examples/adapters/Cargo.toml --example redis
//! ```

use redis::{AsyncCommands, AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, aio::MultiplexedConnection};
use tower::{BoxError, Layer};
use tower_outbound_proxy::{Proxy, ProxyLayer, connector::Connector};
use tower_outbound_proxy_adapters::{Outbound, Redis};
use tower_outbound_proxy_lab::connector;

/// Connects by a URL such as `redis://:password@host:port/`. (A server passes
/// `proxy_layer.layer(HappyEyeballs::default())`.)
async fn connect<D: Connector>(mut proxy: Proxy<D>, url: &str) -> Result<MultiplexedConnection, BoxError> {
    let info = url.into_connection_info()?;
    let ConnectionAddr::Tcp(host, port) = info.addr() else {
        return Err("only redis:// is shown here".into());
    };
    let stream = proxy.tunnel(host, *port).await?;
    let options = AsyncConnectionConfig::new();
    let connecting = MultiplexedConnection::new_with_config(info.redis_settings(), stream, options);
    let (connection, driver) = connecting.await?;
    tokio::spawn(driver);
    Ok(connection)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let redis = Redis::start("word").await?;
    let port = redis.port();
    let outbound = Outbound::start(&["redis.test"]).await?;
    let proxy = ProxyLayer::new(outbound.config()?).layer(connector());

    for host in ["redis.test", "redis.internal.test"] {
        let mut connection = connect(proxy.clone(), &format!("redis://:word@{host}:{port}/")).await?;
        let value: i64 = connection.incr("visits", 1).await?;
        println!("{host}: visit {value}");
    }
    let mut connection = connect(proxy, &format!("redis://:word@redis.test:{port}/")).await?;
    let visits: i64 = connection.get("visits").await?;
    if visits != 2 {
        return Err(format!("{visits} visits instead of 2").into());
    }

    drop(connection);
    outbound.expect([format!("CONNECT redis.test:{port}")]).await
}
