//! Forwarded requests whose proxy asks for credentials: those before the first request, and the answer to a 407.

use std::{sync::Arc, time::Duration};

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
    let (proxy, schemes) = (asking.proxy().clone(), settings.schemes);
    let (account, challenges) = (settings.account(&proxy), challenges(response.headers()));
    // The proxy may send it back.
    let sent = asking.authentication.clone();
    let is_bound = sent.is_continued(&challenges);
    let exchange = account.exchange(&mut asking.authentication, &challenges, schemes);
    let has_better = in_time(settings, &proxy, waited, exchange).await?;
    let again = if has_better { spare.again() } else { None };
    if has_better && again.is_none() {
        // It serves the next request.
        asking.authentication.publish();
    }
    if again.is_none() && settings.auth_errors == Some(false) {
        return Ok(After::Response(response.map(ClientBody::finished)));
    }
    let (parts, body) = response.into_parts();
    let again = match again {
        // A request that would be lost if the proxy closes the connection with its refusal gets another one.
        Some(again) if !is_bound && parts.version < Version::HTTP_2 && !again.method().is_idempotent() => {
            return Ok(After::Again(again, None));
        }
        again => again,
    };
    let until = Deadline::after(settings.connect_timeout).within(BODY_PATIENCE);
    // A body that is read to its end leaves the connection for the repeat.
    let most = if again.is_some() { MAX_REST } else { MAX_BODY };
    let (body, lease) = body.first(most, until, is_bound).await;
    let again = again.filter(|_| !is_bound || lease.is_some());
    match again {
        Some(again) => Ok(After::Again(again, lease.map(Hold::Pooled))),
        None => {
            asking.authentication = sent;
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
