//! Metrics of this process from the system, named as in Prometheus' own client libraries. They require `/proc`.

use std::fs;
use std::sync::LazyLock;

use opentelemetry::global;
use rustix::param::{clock_ticks_per_second, page_size};

/// Fields of `/proc/self/stat` after the name, counted from 0 (proc_pid_stat(5)).
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const START_TIME: usize = 19;
const RESIDENT_PAGES: usize = 21;

/// Creates the instruments, which are read on collection.
pub(super) fn start() {
    let meter = global::meter("keyward");
    let _registered = meter
        .u64_observable_gauge("process.resident_memory")
        .with_description("Memory of the process that is in RAM.")
        .with_unit("By")
        .with_callback(|observer| {
            if let Some(pages) = stat(RESIDENT_PAGES) {
                observer.observe(pages.saturating_mul(page_size() as u64), &[]);
            }
        })
        .build();
    let _registered = meter
        .u64_observable_gauge("process.open_fds")
        .with_description("Open file descriptors.")
        .with_callback(|observer| {
            if let Ok(files) = fs::read_dir("/proc/self/fd") {
                // One entry is the directory that is being read.
                observer.observe((files.count() as u64).saturating_sub(1), &[]);
            }
        })
        .build();
    let _registered = meter
        .f64_observable_counter("process.cpu")
        .with_description(
            "Time that processors have spent on the process, in user and system mode.",
        )
        .with_unit("s")
        .with_callback(|observer| {
            if let (Some(user), Some(system)) = (stat(USER_TIME), stat(SYSTEM_TIME)) {
                observer.observe(seconds(user.saturating_add(system)), &[]);
            }
        })
        .build();
    let _registered = meter
        .f64_observable_gauge("process.start_time")
        .with_description("Start of the process, since 1970-01-01T00:00:00Z.")
        .with_unit("s")
        .with_callback(|observer| {
            if let Some(started) = *STARTED {
                observer.observe(started, &[]);
            }
        })
        .build();
}

static STARTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    Some(booted + seconds(stat(START_TIME)?))
});

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

fn stat(field: usize) -> Option<u64> {
    field_of(&fs::read_to_string("/proc/self/stat").ok()?, field)
}

/// The name may contain any characters, and ends at the last parenthesis.
fn field_of(stat: &str, field: usize) -> Option<u64> {
    let (_name, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 111 222 0 0 20 0 9 0 333 8 444 9";
        assert_eq!(field_of(stat, USER_TIME), Some(111));
        assert_eq!(field_of(stat, SYSTEM_TIME), Some(222));
        assert_eq!(field_of(stat, START_TIME), Some(333));
        assert_eq!(field_of(stat, RESIDENT_PAGES), Some(444));
        assert_eq!(field_of("7", USER_TIME), None);
    }
}
