//! Accounts of the model's keys. All sums are computed again each time.

use keyward_core::account::Verdict;
use keyward_core::window::LimitReset;

use crate::calendar::{date, same};
use crate::model::{Charge, Hold, Model, State};
use crate::outcome::Figures;

impl Model {
    /// Returns the figures of a key, which may be deleted, and true if it is deleted.
    pub(crate) fn figures(&self, key: usize) -> (Figures, bool) {
        let at = &self.keys[key];
        let verdict = |byok: bool| {
            let counts = at.include_byok || !byok;
            if at.disabled {
                Verdict::Disabled
            } else if self.has_expired(key) {
                Verdict::Expired
            } else if counts && self.left(key, false) == Some(0) {
                Verdict::LimitExceeded
            } else {
                Verdict::Valid
            }
        };
        let usage = |byok| {
            let [daily, weekly, monthly] =
                LimitReset::ALL.map(|reset| self.spent(key, byok, Some(reset)));
            [self.spent(key, byok, None), daily, weekly, monthly]
        };
        let figures = Figures {
            usage: usage(false),
            byok_usage: usage(true),
            held: self.held(key, false),
            byok_held: self.held(key, true),
            remaining: self.left(key, false),
            available: self.left(key, true),
            verdicts: [verdict(false), verdict(true)],
        };
        (figures, at.deleted)
    }

    pub(crate) fn has_expired(&self, key: usize) -> bool {
        self.keys[key].expires_at.is_some_and(|end| self.now >= end)
    }

    fn spent(&self, key: usize, byok: bool, reset: Option<LimitReset>) -> i64 {
        let today = date(self.now);
        let of_key = |charge: &&Charge| (charge.key, charge.byok) == (key, byok);
        let in_window = |charge: &&Charge| {
            reset.is_none_or(|reset| same(reset, date(charge.occurred_at), today))
        };
        let charges = self.charges.iter().filter(of_key).filter(in_window);
        charges.map(|charge| charge.amount).sum()
    }

    fn held(&self, key: usize, byok: bool) -> i64 {
        let counts = |hold: &&Hold| {
            let open = hold.state == State::Held && self.now < hold.expires_at;
            open && hold.key == key && hold.byok == byok
        };
        self.holds
            .iter()
            .filter(counts)
            .map(|hold| hold.amount)
            .sum()
    }

    /// Amounts that count against the limit: spent since its last reset, and reserved.
    pub(crate) fn counted(&self, key: usize) -> (i128, i128) {
        let at = &self.keys[key];
        let sides: &[bool] = if at.include_byok {
            &[false, true]
        } else {
            &[false]
        };
        let sum = |of: &dyn Fn(bool) -> i64| sides.iter().map(|byok| i128::from(of(*byok))).sum();
        (
            sum(&|byok| self.spent(key, byok, at.reset)),
            sum(&|byok| self.held(key, byok)),
        )
    }

    /// Returns the rest of the limit, with or without reservations.
    fn left(&self, key: usize, with_holds: bool) -> Option<i64> {
        let limit = i128::from(self.keys[key].limit?);
        let (spent, held) = self.counted(key);
        let held = if with_holds { held } else { 0 };
        Some(i64::try_from((limit - spent - held).max(0)).unwrap())
    }
}
