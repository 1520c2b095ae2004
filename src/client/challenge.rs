//! Forwarded requests whose proxy asks for credentials: those before the first request, and the answer to a 407.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use tokio::time::Instant;

use super::{
    body::ClientBody,
    error::{ClientError, Failure},
    hold::Hold,
    repeat::Spare,
    request_body::RequestBody,
};
use crate::{
    auth::Authentication,
    config::ProxyServer,
    connector::deadline::Deadline,
    error::{self, BODY_PATIENCE, BoxError, ConnectError, MAX_BODY, MAX_REST, Stage},
    layer::Shared,
    service::{Asking, challenges},
};

/// The next step after a 407.
pub(super) enum After {
    /// The request once more, on the same connection if the credentials are bound to it.
    Again(Request<RequestBody>, Option<Hold>),
    Response(Response<ClientBody>),
}

/// Returns how a request authenticates, for which a provider may have to be asked.
pub(super) async fn asking(
    settings: &Arc<Shared>,
    proxy: &ProxyServer,
    uri: &Uri,
    waited: &mut Duration,
) -> Result<Asking, ClientError> {
    let account = settings.account(proxy);
    let authentication = match account.authentication_now() {
        Some(authentication) => authentication,
        None => in_time(settings, proxy, waited, account.authentication()).await?,
    };
    Ok(Asking::new(settings, proxy, uri, authentication))
}

/// Returns for whom tunnels are, which a provider may have to be asked for.
pub(super) async fn identity(
    settings: &Shared,
    proxy: &ProxyServer,
    waited: &mut Duration,
) -> Result<u64, ClientError> {
    let account = settings.account(proxy);
    // Otherwise a tunnel of the one before would do.
    if account.is_expired() {
        in_time(settings, proxy, waited, account.authentication()).await?;
    }
    Ok(account.identity())
}

/// Repeats a request that was refused, if there are better credentials and its body can be sent again.
pub(super) async fn refused(
    asking: &mut Asking,
    response: Response<ClientBody>,
    spare: Spare,
    settings: &Shared,
    waited: &mut Duration,
) -> Result<After, ClientError> {
    let (proxy, challenges) = (asking.proxy().clone(), challenges(response.headers()));
    let is_bound = asking.authentication.is_continued(&challenges);
    let account = settings.account(&proxy);
    let exchange = account.exchange(&asking.authentication, &challenges, settings.schemes);
    let better = in_time(settings, &proxy, waited, exchange).await?;
    let again = better.as_ref().and_then(|_| spare.again());
    if again.is_none() {
        // It serves the next request.
        better.iter().for_each(Authentication::publish);
        if settings.auth_errors == Some(false) {
            return Ok(After::Response(response.map(ClientBody::finished)));
        }
    }
    let (parts, body) = response.into_parts();
    let until = Deadline::after(settings.connect_timeout).within(BODY_PATIENCE);
    // A request that would be lost if the proxy closes the connection with its refusal gets another one.
    let is_at_risk = |again: &Request<_>| parts.version < Version::HTTP_2 && !again.method().is_idempotent();
    let (body, lease) = match again.as_ref() {
        Some(again) if !is_bound && is_at_risk(again) => (Bytes::new(), None),
        // A body that is read to its end leaves the connection for the repeat.
        Some(_) => body.first(MAX_REST, until, is_bound).await,
        None => body.first(MAX_BODY, until, is_bound).await,
    };
    let again = again.filter(|_| !is_bound || lease.is_some());
    match (again, better) {
        (Some(again), Some(better)) => {
            asking.authentication = better;
            Ok(After::Again(again, lease.map(Hold::Pooled)))
        }
        _ => {
            let body = &body[..body.len().min(MAX_BODY)];
            Err(ClientError::new(Failure::Refused(asking.error(parts, body))))
        }
    }
}

/// Waits for a provider, within the deadline for connecting.
async fn in_time<T>(
    settings: &Shared,
    proxy: &ProxyServer,
    waited: &mut Duration,
    question: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, ClientError> {
    let start = Instant::now();
    let limit = settings.connect_timeout.map(|limit| limit.saturating_sub(*waited));
    let question = async { question.await.map_err(error::Failure::Provider) };
    let answer = Deadline::after(limit).run(question, error::Failure::Timeout).await;
    *waited += start.elapsed();
    answer.map_err(|failure| {
        let error = ConnectError::new(Stage::Credentials, failure).through(proxy);
        ClientError::new(Failure::Connect(error))
    })
}
