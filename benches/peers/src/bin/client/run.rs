//! The process of one client: does the jobs that it reads and prints their cost.

use std::{
    fmt, fs,
    io::{self, BufRead},
    ops::AddAssign,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http::Uri;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use url::Url;

use crate::{
    BoxError, DOMAIN, counting,
    peers::{Setup, diy, hyper_http_proxy, ours, reqwest},
};

/// A job for a client, done `repeats` times, each time with a new client. It is sent as a line of text, to the Go program too.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// A URL, or `-` for direct requests to `127.0.0.1`.
    pub(crate) proxy: String,
    pub(crate) scheme: String,
    /// The port of the origins.
    pub(crate) port: u16,
    /// The number of origins that the requests go to, in turn.
    pub(crate) hosts: usize,
    pub(crate) requests: usize,
    pub(crate) concurrency: usize,
    pub(crate) repeats: usize,
    /// Requests before the clock starts.
    pub(crate) warm: usize,
    /// The length of a response.
    pub(crate) bytes: usize,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            proxy, scheme, port, ..
        } = self;
        write!(f, "{proxy} {scheme} {port}")?;
        let numbers = [
            self.hosts,
            self.requests,
            self.concurrency,
            self.repeats,
            self.warm,
            self.bytes,
        ];
        numbers.iter().try_for_each(|number| write!(f, " {number}"))
    }
}

impl FromStr for Job {
    type Err = BoxError;

    fn from_str(line: &str) -> Result<Self, BoxError> {
        let mut words = line.split_whitespace();
        let mut word = || words.next().ok_or("the job is too short");
        Ok(Self {
            proxy: word()?.to_owned(),
            scheme: word()?.to_owned(),
            port: word()?.parse()?,
            hosts: word()?.parse()?,
            requests: word()?.parse()?,
            concurrency: word()?.parse()?,
            repeats: word()?.parse()?,
            warm: word()?.parse()?,
            bytes: word()?.parse()?,
        })
    }
}

/// The cost of a job, without building and warming up its clients. It is sent as a line of text, too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Took {
    pub(crate) nanos: u64,
    /// CPU time in nanoseconds, the system's included.
    pub(crate) cpu: u64,
    pub(crate) allocations: u64,
}

impl Took {
    /// Reads the clocks.
    fn now(start: Instant) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            nanos: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            cpu: (cpu.tv_sec * 1_000_000_000 + cpu.tv_nsec).unsigned_abs(),
            allocations: counting::allocations(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            nanos: self.nanos - before.nanos,
            cpu: self.cpu - before.cpu,
            allocations: self.allocations - before.allocations,
        }
    }
}

impl AddAssign for Took {
    fn add_assign(&mut self, more: Self) {
        self.nanos += more.nanos;
        self.cpu += more.cpu;
        self.allocations += more.allocations;
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.nanos, self.cpu, self.allocations)
    }
}

impl FromStr for Took {
    type Err = BoxError;

    fn from_str(line: &str) -> Result<Self, BoxError> {
        let mut words = line.split_whitespace();
        let mut number = || Some(words.next()?.parse().ok());
        match (number().flatten(), number().flatten(), number().flatten()) {
            (Some(nanos), Some(cpu), Some(allocations)) => Ok(Self {
                nanos,
                cpu,
                allocations,
            }),
            _ => Err(format!("the client said `{}`", line.trim()).into()),
        }
    }
}

/// A URL, in the types that clients take.
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) url: Url,
}

/// One of the clients. Clones share its pool.
pub(crate) trait Fetch: Clone + Send + Sync + 'static {
    /// Gets the target and returns the length of the body.
    fn fetch(&self, target: &Target) -> impl Future<Output = Result<usize, BoxError>> + Send;
}

/// Does each job that standard input brings, until it ends.
pub(crate) fn run(client: &str, root: &Path) -> Result<(), BoxError> {
    // reqwest uses the process's default provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = fs::read(root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for line in io::stdin().lock().lines() {
        let job: Job = line?.parse()?;
        let setup = Setup::new(&job.proxy, &pem)?;
        let took = runtime.block_on(async {
            match client {
                ours::NAME => measure(&job, || ours::build(&setup)).await,
                diy::NAME => measure(&job, || diy::build(&setup)).await,
                hyper_http_proxy::NAME => measure(&job, || hyper_http_proxy::build(&setup)).await,
                reqwest::NAME => measure(&job, || reqwest::build(&setup)).await,
                _ => Err(format!("there is no client `{client}`").into()),
            }
        });
        match took {
            Ok(took) => println!("{took}"),
            Err(error) => println!("error: {error:?}"),
        }
    }
    Ok(())
}

async fn measure<F: Fetch>(job: &Job, build: impl Fn() -> Result<F, BoxError>) -> Result<Took, BoxError> {
    let targets = targets(job)?;
    let start = Instant::now();
    let mut sum = Took::default();
    for _ in 0..job.repeats {
        let client = build()?;
        drive(&client, &targets, job.warm, job).await?;
        let before = Took::now(start);
        drive(&client, &targets, job.requests, job).await?;
        sum += Took::now(start).since(before);
        drop(client);
        // Its connections end in tasks of their own.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(sum)
}

fn targets(job: &Job) -> Result<Arc<[Target]>, BoxError> {
    let targets = (0..job.hosts).map(|n| {
        let host = match job.proxy.as_str() {
            "-" => "127.0.0.1".to_owned(),
            _ => format!("h{n}.{DOMAIN}"),
        };
        let url = format!("{}://{host}:{}/bytes/{}", job.scheme, job.port, job.bytes);
        Ok(Target {
            uri: url.parse()?,
            url: url.parse()?,
        })
    });
    targets.collect()
}

/// Makes that many requests, `job.concurrency` of them at a time.
async fn drive<F: Fetch>(client: &F, targets: &Arc<[Target]>, requests: usize, job: &Job) -> Result<(), BoxError> {
    let bytes = job.bytes;
    if job.concurrency == 1 {
        for n in 0..requests {
            fetch(client, &targets[n % targets.len()], bytes).await?;
        }
        return Ok(());
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..job.concurrency {
        let (client, targets, next) = (client.clone(), targets.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Relaxed);
                if n >= requests {
                    return Ok(());
                }
                fetch(&client, &targets[n % targets.len()], bytes).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        let done: Result<(), BoxError> = done?;
        done?;
    }
    Ok(())
}

async fn fetch<F: Fetch>(client: &F, target: &Target, bytes: usize) -> Result<(), BoxError> {
    match client.fetch(target).await? {
        length if length == bytes => Ok(()),
        length => Err(format!("{} gave {length} bytes, not {bytes}", target.uri).into()),
    }
}
