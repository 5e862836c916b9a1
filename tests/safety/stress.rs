//! What scripts/stress.sh counts.

/// Says how often something was done to the tool without anything being lost.
pub fn report(what: &str, times: u64) {
    println!("STRESS | {what} | {times}");
}
