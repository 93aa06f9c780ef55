//! Tests the ledger against a model. For any operations on two keys and any steps of the clock, every response and
//! every figure must match a naive list of charges and reservations.
//!
//! A failure prints the smallest failing case. `KEYWARD_TEST_SEED` repeats a run, and `PROPTEST_CASES` makes it longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may"
)]

mod account;
mod bench;
mod calendar;
mod model;
#[path = "../common/options.rs"]
mod options;
mod outcome;
mod rows;
mod step;

use std::cell::RefCell;

use keyward_testkit::TestDatabase;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use bench::Bench;
use model::Model;
use outcome::{Outcome, Rejection};
use step::{Case, KEYS, Step};

/// Predicate on a step and its outcome.
type IsKind = fn(&Step, &Outcome) -> bool;

/// Events that a run must contain to be meaningful.
const NOTABLE: [(&str, IsKind); 9] = [
    ("a new charge", |step, outcome| {
        matches!(
            (step, outcome),
            (Step::Record { .. }, Outcome::Recorded { duplicate: false })
        )
    }),
    ("a charge that is there", |step, outcome| {
        matches!(
            (step, outcome),
            (Step::Record { .. }, Outcome::Recorded { duplicate: true })
        )
    }),
    ("another charge under the same id", |step, outcome| {
        matches!(
            (step, outcome),
            (
                Step::Record { .. },
                Outcome::Rejected(Rejection::Conflict(_))
            )
        )
    }),
    ("a reservation", |_, outcome| {
        matches!(outcome, Outcome::Reserved { .. })
    }),
    ("a reservation above the limit", |_, outcome| {
        matches!(outcome, Outcome::Rejected(Rejection::Limit(_)))
    }),
    ("a settlement", |step, outcome| {
        matches!(
            (step, outcome),
            (Step::Settle { .. }, Outcome::Recorded { duplicate: false })
        )
    }),
    ("a settlement that is there", |step, outcome| {
        matches!(
            (step, outcome),
            (Step::Settle { .. }, Outcome::Recorded { duplicate: true })
        )
    }),
    ("a release", |step, outcome| {
        matches!((step, outcome), (Step::Release { .. }, Outcome::Done))
    }),
    ("a roll-up", |_, outcome| {
        matches!(outcome, Outcome::RolledUp { charges: 1.., .. })
    }),
];

/// Number of occurrences of each of these.
type Tally = [u32; NOTABLE.len()];

/// Runs one case from beginning to end.
async fn play(template: &TestDatabase, case: &Case, tally: &RefCell<Tally>) -> Result<(), String> {
    let mut model = Model::new(case);
    let mut bench = Bench::new(template.copy().await, case).await;
    for (number, step) in case.steps.iter().enumerate() {
        let at = |what: String| format!("step {number}, {step:?}: {what}");
        // References in a step are resolved against the state before the step.
        let taken = bench.take(&model, step).await.map_err(at)?;
        let expected = model.take(step);
        if taken.outcome != expected {
            let problem = format!("{:?} instead of {expected:?}", taken.outcome);
            return Err(at(problem));
        }
        for (times, (_, is)) in tally.borrow_mut().iter_mut().zip(NOTABLE) {
            *times += u32::from(is(step, &expected));
        }
        bench.set(model.now);
        bench.compare_answer(&model, step, &taken).map_err(at)?;
        let (judged, byok) = (number % KEYS, number / KEYS % 2 == 1);
        let compared = bench.compare_figures(&model, judged, byok).await;
        compared.map_err(at)?;
    }
    bench.compare_rows(&model).await?;
    bench.close().await;
    Ok(())
}

/// Returns the seed of a run; `KEYWARD_TEST_SEED` sets it.
fn seed() -> u64 {
    let seed = match std::env::var("KEYWARD_TEST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => uuid::Uuid::now_v7().as_u64_pair().1,
    };
    // The test prints its output if it fails.
    println!("KEYWARD_TEST_SEED={seed}");
    seed
}

/// Runs a number of cases, each on a copy of a database with the schema.
fn hold(empty: TestDatabase, runtime: &Runtime, cases: u32) -> Tally {
    let template = runtime.block_on(bench::prepare(empty));
    let wanted = std::env::var("PROPTEST_CASES").map_or(0, |text| text.parse().unwrap());
    let mut runner = TestRunner::new(Config {
        cases: cases.max(wanted),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed()),
        max_shrink_iters: 10_000,
        max_shrink_time: 60_000,
        ..Config::default()
    });
    let tally = RefCell::default();
    let outcome = runner.run(&step::case(40..=80), |case| {
        let played = runtime.block_on(play(&template, &case, &tally));
        played.map_err(TestCaseError::fail)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    tally.into_inner()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn every_figure_is_the_models_on_sqlite() {
    let tally = hold(TestDatabase::sqlite(), &runtime(), 32);
    for (times, (what, _)) in tally.iter().zip(NOTABLE) {
        println!("{times:6} × {what}");
        assert!(*times > 0, "there was never {what}");
    }
}

#[test]
fn every_figure_is_the_models_on_postgres() {
    let runtime = runtime();
    if let Some(empty) = runtime.block_on(TestDatabase::postgres()) {
        hold(empty, &runtime, 8);
    }
}
