//! A [`Client`](tower_outbound_proxy::Client) on a simulated network whose clock is tokio's, paused: proxies and origins
//! go wrong in every way that is known, callers give up, settings change, and afterwards the [`invariants`] have to hold.
//!
//! Everything follows from a seed. A failure is therefore a number that anyone can run again:
//!
//! ```text
//! cargo run --profile simulation --package tower-outbound-proxy-simulation -- --seed 17           prints what happens
//! cargo run --profile simulation --package tower-outbound-proxy-simulation -- --seeds 0..10000000 runs many
//! cargo run --profile simulation --package tower-outbound-proxy-simulation -- --random 10000      runs some that nobody has run
//! ```
//!
//! Tests with real sockets see one order of events, the usual one. The simulation sees many, hours of them a second,
//! but nothing of threads and nothing of the system's sockets.

mod caller;
mod certificates;
mod content;
mod fault;
mod invariants;
mod network;
mod plan;
mod random;
mod record;
mod runner;
mod seed;
mod server;
mod upload;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::main(std::env::args().skip(1))
}
