//! Promise: credentials go to their own proxy and to nobody else, whatever sends the next request another way.
//!
//! A cell of the matrix is a way to a target, an event, and the way of the request after it. All servers record what
//! they receive. No origin and no other proxy may have received a user name or a password in any spelling, and no
//! connection to a proxy may have carried two identities.

pub mod lab;
pub mod secrets;
pub mod ways;

use tower_outbound_proxy_lab::within;

use self::{
    lab::{Lab, SCHEMES, Trust, Version, Way},
    ways::{Cell, Stack},
};

/// Returns all cells of a stack.
fn cells(stack: Stack) -> Vec<Cell> {
    let mut cells = Vec::new();
    for event in stack.events() {
        for before in Way::ALL {
            cells.extend(Way::ALL.map(|after| Cell {
                event: *event,
                before,
                after,
            }));
        }
    }
    cells
}

/// Runs every cell, and reports all that leak.
async fn run(stack: Stack, version: Version) {
    let trust = Trust::new();
    let mut leaks = Vec::new();
    let mut count = 0;
    for scheme in SCHEMES {
        for cell in cells(stack) {
            let lab = Lab::start(&trust, scheme, version).await;
            cell.run(stack, &lab).await;
            within(lab.settled()).await;
            let faults = lab.faults(&cell.expected());
            leaks.extend(faults.iter().map(|fault| format!("{} {cell:?}: {fault}", scheme.name)));
            count += 1;
        }
    }
    assert!(
        leaks.is_empty(),
        "{} faults in {count} cells:\n{}",
        leaks.len(),
        leaks.join("\n")
    );
    println!("{stack:?}, {version:?}: {count} cells are clean");
}

#[tokio::test]
async fn the_clients_cells_are_clean_over_http1() {
    run(Stack::Client, Version::Http1).await;
}

#[tokio::test]
async fn the_clients_cells_are_clean_over_http2() {
    run(Stack::Client, Version::Http2).await;
}

#[tokio::test]
async fn the_halves_cells_are_clean_over_http1() {
    run(Stack::Halves, Version::Http1).await;
}

#[tokio::test]
async fn the_halves_cells_are_clean_over_http2() {
    run(Stack::Halves, Version::Http2).await;
}
