//! Well-behaved clients, at a constant rate or as fast as possible.
//!
//! At a constant rate tasks do not wait for each other: each has a scheduled time, and its latency
//! counts from then, so that a server that stalls affects every request that was due meanwhile.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};

use crate::Outcome;
use crate::clients::{Clients, RestVersion};
use crate::environment::EnvironmentArgs;
use crate::work::{REQUESTS_PER_ERRAND, Work, overrun};

/// Maximum number of tasks in flight.
const MAX_UNDER_WAY: usize = 2_000;
/// Time limit for draining tasks in flight at the end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// Requests per second; without it, as many as `--callers` can make, each one after another.
    #[arg(long, value_name = "NUMBER")]
    rate: Option<f64>,
    /// Number of callers without `--rate`.
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    callers: usize,
    /// Maximum duration, in seconds. SIGTERM ends the load earlier.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Warm-up in seconds, during which only failures count.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    warm_up_seconds: u64,
    /// HTTP version of REST calls.
    #[arg(long, value_enum, default_value = "both")]
    rest: RestVersion,
    /// Maximum number of HTTP/1.1 connections.
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    connections: usize,
    /// End a window at each line on standard input: print its results and reset the counters. The end of the
    /// input ends the load.
    #[arg(long)]
    windows: bool,
    /// Exit with an error if any request failed.
    #[arg(long)]
    strict: bool,
}

/// State that the loops of callers share.
struct Load {
    work: Work,
    /// True if no new task may begin.
    over: AtomicBool,
    ended: Notify,
    under_way: Arc<Semaphore>,
    failed: AtomicU64,
}

pub(crate) async fn run(args: LoadArgs) -> Outcome<ExitCode> {
    let environment = args.environment.read()?;
    let clients = Clients::new(&args.environment, &environment, args.rest, args.connections)?;
    let load = Arc::new(Load {
        work: Work::begin(clients, &environment).await?,
        over: AtomicBool::new(false),
        ended: Notify::new(),
        under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)),
        failed: AtomicU64::new(0),
    });
    let warm_up = Duration::from_secs(args.warm_up_seconds);
    let end = Instant::now() + warm_up + Duration::from_secs(args.seconds);
    let callers = start_callers(&load, &args, end);
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::time::sleep(warm_up).await;
    load.report(false)?;
    if args.windows {
        follow_input(&load);
    }
    tokio::select! {
        () = tokio::time::sleep_until(end.into()) => {}
        () = load.ended.notified() => {}
        _ = terminate.recv() => {}
    }
    load.over.store(true, Ordering::Relaxed);
    callers.join().map_err(|_| "a caller panicked")?;
    let all = u32::try_from(MAX_UNDER_WAY)?;
    let finished = tokio::time::timeout(PATIENCE, load.under_way.acquire_many(all)).await;
    let _all = finished.map_err(|_| "some calls did not end")??;
    load.report(true)?;
    load.work.end().await?;
    let failed = load.failed.load(Ordering::Relaxed);
    Ok(if args.strict && failed > 0 {
        eprintln!("keyward-loadtest: {failed} requests failed");
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl Load {
    /// Takes the measurements, and prints them if requested.
    fn report(&self, print: bool) -> Outcome<()> {
        let summary = self.work.recorder().take();
        self.failed.fetch_add(summary.failed(), Ordering::Relaxed);
        if print {
            say(&summary.json())?;
        }
        Ok(())
    }
}

fn say(json: &Value) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{json}")?;
    Ok(out.flush()?)
}

/// Starts the callers on their own thread: the runtime's timers are too coarse for the schedule.
fn start_callers(load: &Arc<Load>, args: &LoadArgs, end: Instant) -> std::thread::JoinHandle<()> {
    let load = Arc::clone(load);
    let runtime = Handle::current();
    let (rate, callers) = (args.rate, args.callers);
    std::thread::spawn(move || match rate {
        Some(rate) => keep_the_rate(&load, &runtime, rate, end),
        None => keep_busy(&load, &runtime, callers, end),
    })
}

fn keep_the_rate(load: &Arc<Load>, runtime: &Handle, rate: f64, end: Instant) {
    let interval = Duration::from_secs_f64(REQUESTS_PER_ERRAND / rate.max(0.01));
    let mut intended = Instant::now();
    let mut number = 0;
    while intended < end && !load.over.load(Ordering::Relaxed) {
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        match Arc::clone(&load.under_way).try_acquire_owned() {
            Ok(permit) => {
                let load = Arc::clone(load);
                runtime.spawn(async move {
                    load.work.run(number, intended).await;
                    drop(permit);
                });
            }
            Err(_) => overrun(&load.work),
        }
        number += 1;
        intended += interval;
    }
}

fn keep_busy(load: &Arc<Load>, runtime: &Handle, callers: usize, end: Instant) {
    let number = Arc::new(AtomicUsize::new(0));
    let callers = (0..callers.min(MAX_UNDER_WAY)).map(|_| {
        let (load, number) = (Arc::clone(load), Arc::clone(&number));
        runtime.spawn(async move {
            while Instant::now() < end && !load.over.load(Ordering::Relaxed) {
                let number = number.fetch_add(1, Ordering::Relaxed);
                load.work.run(number, Instant::now()).await;
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    runtime.block_on(async {
        for caller in callers {
            // A caller that panicked has nothing left to do.
            let _ = caller.await;
        }
    });
}

/// Ends a window for each line of input.
fn follow_input(load: &Arc<Load>) {
    let load = Arc::clone(load);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || load.report(true).is_err() {
                break;
            }
        }
        load.ended.notify_one();
    });
}
