//! The process of one Rust client: does the jobs that it reads and prints the answers.

use std::{
    any::Any,
    fs,
    io::{self, BufRead},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::Uri;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use tower_outbound_proxy::connector::ProxyVersion;

use crate::{
    BoxError, Contender, DOMAIN,
    clients::{Fetch, Open, Setup, Upload, hyper_util, ours, reqwest},
    content::Content,
    counting::Live,
    job::{Inside, Job, Took, Verb},
};

/// The connections that a job leaves open.
type Kept = Option<Box<dyn Any>>;

/// Does each job that standard input brings, until it ends.
pub(crate) fn run(contender: Contender, root: &Path) -> Result<(), BoxError> {
    // reqwest uses the process's default provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = fs::read(root)?;
    // Allocations are counted by thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut _kept: Kept = None;
    for line in io::stdin().lock().lines() {
        let job: Arc<Job> = Arc::new(line?.parse()?);
        let setup = Setup::new(&job.proxy, job.inside, &pem)?;
        match runtime.block_on(answer(contender, &job, &setup)) {
            Ok((text, keep)) => {
                println!("{text}");
                _kept = keep;
            }
            Err(error) => println!("error: {error:?}"),
        }
    }
    Ok(())
}

async fn answer(contender: Contender, job: &Arc<Job>, setup: &Setup) -> Result<(String, Kept), BoxError> {
    let version = match contender {
        Contender::OursHttp2 => ProxyVersion::Negotiated,
        _ => ProxyVersion::Http1,
    };
    match (contender, job.inside) {
        (Contender::OursHttp2 | Contender::OursHttp1, Inside::Raw) => open(job, || ours::layer(setup, version)).await,
        (Contender::OursHttp2 | Contender::OursHttp1, _) => fetch(job, || ours::client(setup, version)).await,
        (Contender::HyperUtil, Inside::Raw) => open(job, || hyper_util::raw(setup)).await,
        (Contender::HyperUtil, Inside::Http) => fetch(job, || hyper_util::http(setup)).await,
        (Contender::HyperUtil, Inside::Https) => match setup.proxy {
            Some(_) => fetch(job, || hyper_util::https(setup)).await,
            None => fetch(job, || hyper_util::direct(setup)).await,
        },
        (Contender::HyperUtil, Inside::Forward) => fetch(job, || hyper_util::forward(setup)).await,
        (Contender::Reqwest, Inside::Https | Inside::Forward) => fetch(job, || reqwest::client(setup)).await,
        _ => Err(format!("{contender:?} does not do {:?}", job.inside).into()),
    }
}

/// Does a job with a client.
async fn fetch<F: Fetch>(job: &Arc<Job>, build: impl Fn() -> Result<F, BoxError>) -> Result<(String, Kept), BoxError> {
    let work = |client: F, host: Host| {
        let job = job.clone();
        async move {
            let url = host.url(&job)?;
            get_or_put(&client, &host, &url, &job).await.map(drop)
        }
    };
    match job.verb {
        Verb::Get | Verb::Put => measure(job, build, work).await,
        Verb::Trips => {
            let client = build()?;
            let mut answer = String::new();
            for host in hosts(job) {
                let url = host.url(job)?;
                let start = Instant::now();
                let first = get_or_put(&client, &host, &url, job).await?;
                answer += &format!("{} ", first.duration_since(start).as_nanos());
            }
            Ok((answer, None))
        }
        Verb::Idle => idle(job, build()?, work).await,
    }
}

/// Returns the time of the response's first byte.
async fn get_or_put<F: Fetch>(client: &F, host: &Host, url: &Uri, job: &Job) -> Result<Instant, BoxError> {
    let content = Content::of(&host.0, job.bytes);
    let (upload, mut expected) = match job.verb {
        Verb::Put => (Upload(Some(content)), Content::of("taken", 6)),
        _ => (Upload(None), content),
    };
    let mut first = None;
    let read = |bytes: &[u8]| {
        first.get_or_insert_with(Instant::now);
        expected.expect(bytes)
    };
    client.fetch(url, upload, read).await?;
    expected.end()?;
    first.ok_or_else(|| "the response has no body".into())
}

/// Does a job with a connector. In each tunnel one line is sent, and the host's name received.
async fn open<O: Open>(job: &Arc<Job>, build: impl Fn() -> Result<O, BoxError>) -> Result<(String, Kept), BoxError> {
    let work = |connector: O, host: Host| {
        let job = job.clone();
        async move {
            let mut tunnel = connector.open(&host.url(&job)?).await?;
            tunnel.write_all(b"name\n").await?;
            tunnel.flush().await?;
            let expected = format!("{}\n", host.0);
            let mut received = vec![0; expected.len()];
            tunnel.read_exact(&mut received).await?;
            match received == expected.as_bytes() {
                true => Ok(tunnel),
                false => Err(format!("expected {expected:?}, found {received:?}").into()),
            }
        }
    };
    match job.verb {
        Verb::Get => measure(job, build, work).await,
        Verb::Idle => idle(job, build()?, work).await,
        _ => Err("there is no such job for a tunnel alone".into()),
    }
}

/// One of the hosts, `h0.bench.test` and so on.
struct Host(String);

impl Host {
    fn url(&self, job: &Job) -> Result<Uri, BoxError> {
        let scheme = match job.inside {
            Inside::Https => "https",
            _ => "http",
        };
        let path = match job.verb {
            Verb::Put => "take".to_owned(),
            _ => format!("bytes/{}", job.bytes),
        };
        let host = if job.proxy == "-" { "127.0.0.1" } else { &self.0 };
        Ok(format!("{scheme}://{host}:{}/{path}", job.port).parse()?)
    }
}

fn hosts(job: &Job) -> impl Iterator<Item = Host> + use<> {
    let direct = job.proxy == "-";
    let name = move |n| {
        if direct {
            "127.0.0.1".to_owned()
        } else {
            format!("h{n}.{DOMAIN}")
        }
    };
    (0..job.hosts).map(move |n| Host(name(n)))
}

/// Does the work for each host, a number of hosts at a time, and prints the cost of those that are not to warm up.
async fn measure<C, F, T>(
    job: &Job,
    build: impl Fn() -> Result<C, BoxError>,
    work: impl Fn(C, Host) -> F,
) -> Result<(String, Kept), BoxError>
where
    C: Clone,
    F: Future<Output = Result<T, BoxError>> + Send + 'static,
    T: Send + 'static,
{
    let start = Instant::now();
    let mut sum = Took::default();
    for _ in 0..job.repeats {
        let client = build()?;
        let mut done = Vec::with_capacity(job.hosts);
        for host in hosts(job).take(job.warm) {
            done.push(work(client.clone(), host).await?);
        }
        let before = now(start);
        let mut rest = hosts(job).skip(job.warm);
        // Each in a task of its own.
        let mut tasks = JoinSet::new();
        for host in rest.by_ref().take(job.concurrency) {
            tasks.spawn(work(client.clone(), host));
        }
        while let Some(ended) = tasks.join_next().await {
            done.push(ended??);
            if let Some(host) = rest.next() {
                tasks.spawn(work(client.clone(), host));
            }
        }
        let after = now(start);
        sum.nanos += after.nanos - before.nanos;
        sum.cpu += after.cpu - before.cpu;
        drop((done, client));
        // Its connections end in tasks of their own.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((sum.to_string(), None))
}

/// Reads the clocks.
fn now(start: Instant) -> Took {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    Took {
        nanos: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        cpu: (cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec).unsigned_abs(),
    }
}

/// Does the work for each host and keeps all that it left, and prints the growth of the live memory after those that
/// warm up.
async fn idle<C, F, T>(job: &Job, client: C, work: impl Fn(C, Host) -> F) -> Result<(String, Kept), BoxError>
where
    C: Clone + 'static,
    F: Future<Output = Result<T, BoxError>>,
    T: 'static,
{
    let mut done = Vec::with_capacity(job.hosts);
    let mut before = None;
    for (n, host) in hosts(job).enumerate() {
        if n == job.warm {
            settle().await;
            before = Some(Live::now());
        }
        done.push(work(client.clone(), host).await?);
    }
    settle().await;
    let before = before.ok_or("no host is left to measure")?;
    let grown = Live::now().bytes - before.bytes;
    Ok((grown.to_string(), Some(Box::new((client, done)))))
}

/// Lets the rest of the requests end.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}
