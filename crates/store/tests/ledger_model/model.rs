//! Expected state: a list of charges and a list of reservations, evaluated from the beginning each time.
//!
//! The model shares no code with the code under test, and computes dates by another method.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::window::LimitReset;
use keyward_core::{Ending, Noun};

use crate::calendar::{date, day_number, days_after, midnight, next_midnight, same};
use crate::outcome::{Outcome, Rejection};
use crate::step::{Case, Change, DEFAULT_TTL, HOUR, MAX_AHEAD, MAX_TTL, Move, Step};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Charge {
    pub(crate) key: usize,
    pub(crate) id: usize,
    pub(crate) amount: i64,
    pub(crate) byok: bool,
    pub(crate) occurred_at: i64,
    pub(crate) recorded_at: i64,
    /// True if it was rolled up, so that only its sums are left.
    pub(crate) rolled_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    Settled(i64),
    Released,
    /// Rolled up.
    Gone,
}

#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) key: usize,
    pub(crate) id: usize,
    pub(crate) amount: i64,
    pub(crate) byok: bool,
    pub(crate) created_at: i64,
    pub(crate) expires_at: i64,
    pub(crate) state: State,
    /// Time at which it was settled or released.
    pub(crate) ended_at: Option<i64>,
}

pub(crate) struct Key {
    pub(crate) limit: Option<i64>,
    pub(crate) reset: Option<LimitReset>,
    pub(crate) include_byok: bool,
    pub(crate) expires_at: Option<i64>,
    pub(crate) disabled: bool,
    pub(crate) deleted: bool,
}

pub(crate) struct Model {
    /// Milliseconds since 1970.
    pub(crate) now: i64,
    pub(crate) keys: Vec<Key>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) holds: Vec<Hold>,
    /// Cutoff and time of the last roll-up.
    last_roll_up: Option<(i64, i64)>,
}

impl Model {
    pub(crate) fn new(case: &Case) -> Self {
        let keys = case.keys.iter().map(|new| Key {
            limit: new.limit,
            reset: new.reset,
            include_byok: new.include_byok,
            expires_at: new.lives.map(|lives| case.start + lives),
            disabled: false,
            deleted: false,
        });
        Self {
            now: case.start,
            keys: keys.collect(),
            charges: Vec::new(),
            holds: Vec::new(),
            last_roll_up: None,
        }
    }

    /// Returns the reservation that many before the latest, if there are any.
    pub(crate) fn hold(&self, back: usize) -> Option<usize> {
        let count = self.holds.len();
        (count > 0).then(|| count - 1 - back % count)
    }

    /// Returns the cost that a reservation is settled with.
    pub(crate) fn cost(&self, hold: usize, thousandths: i64) -> i64 {
        let cost = i128::from(self.holds[hold].amount) * i128::from(thousandths) / 1000;
        i64::try_from(cost).unwrap()
    }

    /// Applies a step.
    pub(crate) fn take(&mut self, step: &Step) -> Outcome {
        let outcome = match *step {
            Step::Record {
                key,
                id,
                amount,
                byok,
                after,
            } => self.record(key, id, amount, byok, self.now + after.unwrap_or(0)),
            Step::Reserve {
                key,
                id,
                amount,
                byok,
                ttl,
            } => {
                let ttl = ttl.unwrap_or(DEFAULT_TTL);
                if !(1..=MAX_TTL).contains(&ttl) {
                    return Outcome::Rejected(Rejection::Invalid("ttl"));
                }
                self.reserve(Hold {
                    key,
                    id,
                    amount,
                    byok,
                    created_at: self.now,
                    expires_at: self.now + ttl,
                    state: State::Held,
                    ended_at: None,
                })
            }
            Step::Settle { back, thousandths } => match self.hold(back) {
                Some(hold) => self.settle(hold, self.cost(hold, thousandths)),
                None => Err(Rejection::NotFound(Noun::Reservation)),
            },
            Step::Release { back } => match self.hold(back) {
                Some(hold) => self.release(hold),
                None => Err(Rejection::NotFound(Noun::Reservation)),
            },
            Step::Change { key, ref change } => self.change(key, change),
            Step::Delete { key } if self.keys[key].deleted => {
                Err(Rejection::NotFound(Noun::IssuedKey))
            }
            Step::Delete { key } => {
                self.keys[key].deleted = true;
                Ok(Outcome::Done)
            }
            Step::RollUp { retention } => Ok(self.roll_up(retention)),
            Step::Move(ref to) => {
                self.now = self.moved(to);
                Ok(Outcome::Done)
            }
        };
        outcome.unwrap_or_else(Outcome::Rejected)
    }

    fn record(
        &mut self,
        key: usize,
        id: usize,
        amount: i64,
        byok: bool,
        occurred_at: i64,
    ) -> Result<Outcome, Rejection> {
        if occurred_at > self.now + MAX_AHEAD {
            return Err(Rejection::Invalid("occurredAt"));
        }
        let duplicate = self.charge(key, id, amount, byok, occurred_at)?;
        Ok(Outcome::Recorded { duplicate })
    }

    /// Appends a charge unless it exists, and reports if it existed.
    fn charge(
        &mut self,
        key: usize,
        id: usize,
        amount: i64,
        byok: bool,
        occurred_at: i64,
    ) -> Result<bool, Rejection> {
        if let Some(earlier) = self.find_charge(key, id) {
            if earlier.amount != amount {
                return Err(Rejection::Conflict("a charge of another cost"));
            }
            return match (earlier.byok, byok) {
                (true, false) => Err(Rejection::Conflict("a BYOK charge")),
                (false, true) => Err(Rejection::Conflict("a charge that was not BYOK")),
                _ => Ok(true),
            };
        }
        self.charges.push(Charge {
            key,
            id,
            amount,
            byok,
            occurred_at,
            recorded_at: self.now,
            rolled_up: false,
        });
        Ok(false)
    }

    fn find_charge(&self, key: usize, id: usize) -> Option<&Charge> {
        let mut charges = self.charges.iter();
        charges.find(|charge| (charge.key, charge.id) == (key, id) && !charge.rolled_up)
    }

    fn reserve(&mut self, new: Hold) -> Result<Outcome, Rejection> {
        let (key, id) = (new.key, new.id);
        if self.keys[key].deleted {
            return Err(Rejection::NotFound(Noun::IssuedKey));
        }
        let same = |hold: &Hold| (hold.key, hold.id) == (key, id) && hold.state != State::Gone;
        if let Some(found) = self.holds.iter().position(same) {
            let Hold {
                amount,
                byok,
                expires_at,
                state,
                ..
            } = self.holds[found];
            return match state {
                _ if amount != new.amount => {
                    Err(Rejection::Conflict("a reservation of another amount"))
                }
                _ if byok && !new.byok => Err(Rejection::Conflict("a BYOK reservation")),
                _ if !byok && new.byok => {
                    Err(Rejection::Conflict("a reservation that was not BYOK"))
                }
                State::Settled(_) => Err(Rejection::Ended(Ending::Settled)),
                State::Released => Err(Rejection::Ended(Ending::Released)),
                _ if self.now >= expires_at => Err(Rejection::Ended(Ending::Expired)),
                _ => Ok(Outcome::Reserved {
                    hold: found,
                    expires_at,
                }),
            };
        }
        if self.find_charge(key, id).is_some() {
            return Err(Rejection::Conflict("a charge"));
        }
        self.admit(key, new.amount, new.byok)?;
        let (hold, expires_at) = (self.holds.len(), new.expires_at);
        self.holds.push(new);
        Ok(Outcome::Reserved { hold, expires_at })
    }

    fn admit(&self, key: usize, amount: i64, byok: bool) -> Result<(), Rejection> {
        let at = &self.keys[key];
        if at.disabled {
            return Err(Rejection::Disabled);
        }
        if self.has_expired(key) {
            return Err(Rejection::Expired);
        }
        let counts = at.include_byok || !byok;
        let Some(limit) = at.limit.map(i128::from).filter(|_| counts) else {
            return Ok(());
        };
        let (spent, held) = self.counted(key);
        let amount = i128::from(amount);
        // The rest of the limit is never negative, so zero always fits.
        if amount == 0 || spent + held + amount <= limit {
            return Ok(());
        }
        let retry = match at.reset {
            _ if amount > limit => None,
            _ if spent + amount <= limit => Some(Duration::from_secs(1)),
            None => None,
            Some(reset) => Some(self.until_anew(reset)),
        };
        Err(Rejection::Limit(retry))
    }

    /// Returns the time until the first midnight of another window.
    fn until_anew(&self, reset: LimitReset) -> Duration {
        let today = date(self.now);
        let mut days = days_after(today);
        let next = days.find(|day| !same(reset, *day, today)).unwrap();
        Duration::from_millis(u64::try_from(midnight(next) - self.now).unwrap())
    }

    fn settle(&mut self, hold: usize, cost: i64) -> Result<Outcome, Rejection> {
        let Hold {
            key,
            id,
            byok,
            state,
            ..
        } = self.holds[hold];
        match state {
            State::Gone => return Err(Rejection::NotFound(Noun::Reservation)),
            State::Released => return Err(Rejection::Ended(Ending::Released)),
            State::Settled(earlier) if earlier == cost => {
                return Ok(Outcome::Recorded { duplicate: true });
            }
            State::Settled(_) => return Err(Rejection::Conflict("a charge of another cost")),
            State::Held => {}
        }
        let duplicate = self.charge(key, id, cost, byok, self.now)?;
        self.end(hold, State::Settled(cost));
        Ok(Outcome::Recorded { duplicate })
    }

    fn end(&mut self, hold: usize, state: State) {
        self.holds[hold].state = state;
        self.holds[hold].ended_at = Some(self.now);
    }

    fn release(&mut self, hold: usize) -> Result<Outcome, Rejection> {
        match self.holds[hold].state {
            State::Gone => return Err(Rejection::NotFound(Noun::Reservation)),
            State::Settled(_) => return Err(Rejection::Ended(Ending::Settled)),
            State::Released => {}
            State::Held => self.end(hold, State::Released),
        }
        Ok(Outcome::Done)
    }

    fn change(&mut self, key: usize, change: &Change) -> Result<Outcome, Rejection> {
        let at = &mut self.keys[key];
        if at.deleted {
            return Err(Rejection::NotFound(Noun::IssuedKey));
        }
        at.limit = change.limit.unwrap_or(at.limit);
        at.reset = change.reset.unwrap_or(at.reset);
        at.include_byok = change.include_byok.unwrap_or(at.include_byok);
        at.disabled = change.disabled.unwrap_or(at.disabled);
        Ok(Outcome::Done)
    }

    fn roll_up(&mut self, retention: i64) -> Outcome {
        let (mut charges, mut reservations) = (0, 0);
        let before = self.cutoff(retention);
        for charge in &mut self.charges {
            if !charge.rolled_up && charge.recorded_at < before {
                charge.rolled_up = true;
                charges += 1;
            }
        }
        for hold in &mut self.holds {
            let is_over = hold.ended_at.is_none_or(|at| at < before) && hold.expires_at < before;
            if is_over && hold.state != State::Gone {
                hold.state = State::Gone;
                reservations += 1;
            }
        }
        Outcome::RolledUp {
            charges,
            reservations,
        }
    }

    /// Returns the end of a roll-up: the earlier of clock and newest row, less the retention, and beyond the last cutoff
    /// at most 24 times the time since the last roll-up, of which an hour counts.
    fn cutoff(&mut self, retention: i64) -> i64 {
        let charges = self.charges.iter().filter(|charge| !charge.rolled_up);
        let charged: Vec<i64> = charges.map(|charge| charge.recorded_at).collect();
        let holds = self.holds.iter().filter(|hold| hold.state != State::Gone);
        let held = holds.clone().next_back().map(|hold| hold.created_at);
        let by_clock = self.now - retention;
        let expired = holds.filter(|hold| hold.expires_at < by_clock);
        let ended = expired.map(|hold| hold.expires_at.max(hold.ended_at.unwrap_or(i64::MIN)));
        let newest = charged.iter().copied().max().max(held);
        let oldest = charged.iter().copied().chain(ended).min();
        let Some((newest, oldest)) = newest.zip(oldest) else {
            return i64::MIN;
        };
        let (cutoff, at) = self.last_roll_up.unwrap_or((oldest, self.now));
        let start = cutoff.min(oldest).max(oldest - retention);
        let passed = (self.now - at).clamp(0, HOUR);
        let before = (self.now.min(newest) - retention).min(start + 24 * passed);
        self.last_roll_up = Some((before.max(start), self.now));
        before
    }

    fn moved(&self, to: &Move) -> i64 {
        match *to {
            Move::By(millis) => self.now + millis,
            Move::To(kind, by) => next_midnight(self.now, kind) + by,
            Move::ToHoldsEnd(back, by) => match self.hold(back) {
                Some(hold) => self.holds[hold].expires_at + by,
                None => self.now,
            },
            Move::ToKeysEnd(key, by) => self.keys[key].expires_at.map_or(self.now, |at| at + by),
        }
    }

    /// Returns the amounts that each key spent on each day, by key and day: platform, and customer's own keys.
    pub(crate) fn by_day(&self) -> BTreeMap<(usize, i64), (i64, i64)> {
        let mut days = BTreeMap::new();
        for charge in &self.charges {
            let day: &mut (i64, i64) = days
                .entry((charge.key, day_number(charge.occurred_at)))
                .or_default();
            let side = if charge.byok { &mut day.1 } else { &mut day.0 };
            *side += charge.amount;
        }
        days
    }
}
