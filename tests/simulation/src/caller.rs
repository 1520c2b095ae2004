//! Callers: they wait, read, give up and try again.

use std::{sync::Arc, time::Duration};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tower_outbound_proxy::{
    Client,
    client::{ClientBody, ClientError},
};
use tower_service::Service;

use crate::{
    content,
    invariants::Invariant,
    plan::{self, Protocol, Reading, Upload},
    record::{BodyEnd, End, Happening, Peer, Try, TryId},
    upload::UploadBody,
    world::World,
};

/// Makes a planned request, and repeats it if that is safe.
pub(crate) async fn run(world: Arc<World>, client: Client<UploadBody>, number: usize, request: plan::Request) {
    sleep_until(world.start() + Duration::from_millis(request.at)).await;
    let deadline = Instant::now() + Duration::from_millis(request.timeout);
    let mut retries = request.retries;
    while let End::Failed { before: true, .. } = once(&world, client.clone(), number, &request, deadline).await {
        if retries == 0 {
            return;
        }
        retries -= 1;
        sleep(Duration::from_millis(10)).await;
    }
}

/// Makes a request that a healthy world answers. Returns true if it did.
pub(crate) async fn probe(world: &Arc<World>, client: &Client<UploadBody>, origin: usize, patience: Duration) -> bool {
    let number = world.plan.requests.len() + origin;
    let request = plan::Request {
        at: 0,
        origin,
        is_post: false,
        upload: Upload::NONE,
        reading: Reading::Whole,
        timeout: 0,
        retries: 0,
    };
    let end = once(world, client.clone(), number, &request, Instant::now() + patience).await;
    matches!(end, End::Response(_))
}

async fn once(
    world: &Arc<World>,
    mut client: Client<UploadBody>,
    number: usize,
    request: &plan::Request,
    deadline: Instant,
) -> End {
    let try_id = begin(world, number, request);
    let server = world.server(request.origin);
    let scheme = match server.protocol {
        Protocol::Https | Protocol::Http2 => "https",
        _ => "http",
    };
    let message = Request::builder()
        .method(if request.is_post { Method::POST } else { Method::GET })
        .uri(format!("{scheme}://{}/{number}/{try_id}", server.name))
        .header("x-try", try_id)
        .header("authorization", format!("Bearer {try_id}"))
        .body(UploadBody::new(number, request.upload))
        .expect("the request is well formed");
    let result = timeout_at(deadline, client.call(message)).await;
    let end = match &result {
        Ok(Ok(response)) => End::Response(response.status().as_u16()),
        Ok(Err(error)) => failed(world, error),
        Err(_) => End::GaveUp,
    };
    {
        let mut record = world.record();
        record.tries[try_id].ended = Some((Instant::now(), end));
        record.happens(&Happening::Ends(try_id, end));
    }
    if let Ok(Ok(response)) = result {
        let body_end = read(world, try_id, response, request.reading, deadline).await;
        let mut record = world.record();
        record.tries[try_id].body_ended = Some((Instant::now(), body_end));
        record.happens(&Happening::BodyEnds(try_id, body_end));
    }
    end
}

fn begin(world: &World, number: usize, request: &plan::Request) -> TryId {
    let peer = peer(world, request.origin);
    let mut record = world.record();
    let try_id = record.tries.len();
    record.tries.push(Try {
        request: number,
        is_post: request.is_post,
        has_upload: request.upload != Upload::NONE,
        reading: request.reading,
        is_probe: number >= world.plan.requests.len(),
        peer,
        began: Instant::now(),
        seen: Vec::new(),
        ended: None,
        body_ended: None,
    });
    record.happens(&Happening::Begins(try_id, peer, request.upload, request.reading));
    try_id
}

/// Returns the peer to which the current settings lead.
pub(crate) fn peer(world: &World, origin: usize) -> Peer {
    let settings = world.settings();
    let is_tls = world.server(origin).protocol != Protocol::Http;
    let password = settings.password;
    match if is_tls { settings.https } else { settings.http } {
        None => Peer::Direct { origin },
        Some(proxy) if is_tls || settings.always_tunnel => Peer::Tunnel {
            proxy,
            password,
            origin,
        },
        Some(proxy) => Peer::Forward { proxy, password },
    }
}

fn failed(world: &World, error: &ClientError) -> End {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    let record = world.record();
    record.note(format_args!("{text}"));
    End::Failed {
        before: error.is_before_request(),
        connect: error.is_connect(),
        timeout: error.is_timeout(),
    }
}

async fn read(
    world: &World,
    try_id: TryId,
    response: Response<ClientBody>,
    reading: Reading,
    deadline: Instant,
) -> BodyEnd {
    if response.headers().get("x-try").map(|number| number.as_bytes()) != Some(try_id.to_string().as_bytes()) {
        let text = format_args!("try {try_id} got the response {:?}", response.headers());
        world.record().violated(Invariant::Body, text);
    }
    let length = response
        .headers()
        .get("content-length")
        .and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = response.into_body();
    let mut read = 0;
    if let Reading::Late(pause) = reading {
        sleep(Duration::from_millis(pause)).await;
    }
    if reading == Reading::Head {
        return BodyEnd::Dropped(0);
    }
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return BodyEnd::GaveUp(read),
            Ok(Some(Err(_))) => return BodyEnd::Failed(read),
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
        };
        let Ok(data) = frame.into_data() else { continue };
        if !content::is(try_id, read, &data) {
            let text = format_args!("the response to try {try_id} is another's after {read} bytes");
            world.record().violated(Invariant::Body, text);
        }
        read += data.len();
        match reading {
            Reading::Half => return BodyEnd::Dropped(read),
            Reading::Slow(pause) => sleep(Duration::from_millis(pause)).await,
            Reading::Whole | Reading::Head | Reading::Late(_) => {}
        }
    }
    if length.is_some_and(|length: usize| length != read) {
        let text = format_args!("the response to try {try_id} ended after {read} of {length:?} bytes");
        world.record().violated(Invariant::Body, text);
    }
    BodyEnd::Read(read)
}
