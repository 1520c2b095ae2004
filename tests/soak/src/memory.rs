//! The resident set of this process over time.

use std::{
    fs,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Samples in MiB, one a second.
static SAMPLES: Mutex<Vec<(Duration, f64)>> = Mutex::new(Vec::new());

pub(crate) struct Memory;

impl Memory {
    pub(crate) async fn sample(start: Instant) {
        loop {
            if let Some(resident) = resident() {
                let mut samples = SAMPLES.lock().unwrap_or_else(|error| error.into_inner());
                samples.push((start.elapsed(), resident));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub(crate) fn samples() -> Vec<(Duration, f64)> {
        SAMPLES.lock().unwrap_or_else(|error| error.into_inner()).clone()
    }
}

fn resident() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages as f64 * 4096.0 / f64::from(1 << 20))
}
