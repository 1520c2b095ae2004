//! One outbound call: a request and its response, or, for Redis, a command and its reply.

use http::{Request, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Empty, Limited};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tower::ServiceExt;
use tower_outbound_proxy::{Route, client::ClientBody, connector::Destination, error::BoxError};

use super::{connections::Connection, outbound::Outbound};

/// The number of bytes read of a response's body, so that its connection can be used again.
const MAX_BODY: usize = 64 << 10;
/// The port of Redis, as registered with IANA.
const REDIS_PORT: u16 = 6379;
/// `PING` as clients send commands: an array of bulk strings (Redis serialization protocol, RESP).
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// The maximum length of a reply's line, in bytes.
const MAX_LINE: u64 = 512;

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// The route.
    pub route: Route,
    /// The status, or Redis' reply.
    pub status: String,
    /// True if the answer is the target's. A status of 500 and above can be the proxy's own.
    pub is_of_target: bool,
}

impl Outbound {
    /// Calls a target for this purpose.
    ///
    /// # Errors
    ///
    /// There was no answer, for any reason.
    pub async fn call(&self, connection: Connection, uri: &Uri) -> Result<Answer, BoxError> {
        match connection {
            Connection::Redis => self.ping(uri).await,
            _ => self.get(connection, uri).await,
        }
    }

    async fn get(&self, connection: Connection, uri: &Uri) -> Result<Answer, BoxError> {
        let mut request = Request::get(uri)
            .header(header::USER_AGENT, "palpo-example")
            .body(Empty::new())?;
        request.extensions_mut().insert(connection);
        let response = self.client(connection).oneshot(request).await?;
        let status = response.status();
        let route = response.extensions().get::<Route>().cloned();
        read(response.into_body()).await?;
        Ok(Answer {
            route: route.ok_or("the client does not tell its route")?,
            is_of_target: status < StatusCode::INTERNAL_SERVER_ERROR,
            status: status.to_string(),
        })
    }

    /// Sends `PING`. The policy decides here too: its "never" keeps a company's proxy out of the server's own queue.
    async fn ping(&self, uri: &Uri) -> Result<Answer, BoxError> {
        let route = self.decide(Connection::Redis, uri)?.route;
        let uri = with_port(uri, REDIS_PORT)?;
        let destination = Destination { uri, route };
        let (route, mut stream) = self.connector.clone().oneshot(destination).await?;
        stream.write_all(PING).await?;
        stream.flush().await?;
        let mut reply = Vec::new();
        BufReader::new(stream.take(MAX_LINE))
            .read_until(b'\n', &mut reply)
            .await?;
        let reply = String::from_utf8_lossy(&reply);
        // Both a simple string and an error such as `-NOAUTH Authentication required.` are answers from Redis.
        let status = reply.strip_suffix("\r\n").filter(|line| line.starts_with(['+', '-']));
        match status {
            Some(line) => Ok(Answer {
                route,
                status: line.to_owned(),
                is_of_target: true,
            }),
            None => Err("the answer is not Redis'".into()),
        }
    }
}

/// Reads a short body to its end. A longer body is dropped together with its connection.
async fn read(body: ClientBody) -> Result<(), BoxError> {
    match Limited::new(body, MAX_BODY).collect().await {
        Err(error) if !error.is::<http_body_util::LengthLimitError>() => Err(error),
        _ => Ok(()),
    }
}

/// Adds the default port, because a connector would otherwise use a port of HTTP.
fn with_port(uri: &Uri, default: u16) -> Result<Uri, BoxError> {
    let authority = match (uri.port(), uri.host()) {
        (Some(port), Some(host)) => format!("{host}:{port}"),
        (None, Some(host)) => format!("{host}:{default}"),
        (_, None) => return Err("the URL names no host".into()),
    };
    let parts = uri::Builder::new().scheme("redis").authority(authority);
    Ok(parts.path_and_query("/").build()?)
}
