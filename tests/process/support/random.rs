//! Reproducible randomness.

/// SplitMix64: enough to vary the moments, and deterministic for a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Returns an amount in the inclusive range.
    pub(crate) fn between(&mut self, first: i64, last: i64) -> i64 {
        let span = u64::try_from(last - first).unwrap();
        first + i64::try_from(self.below(span + 1)).unwrap()
    }

    /// Returns another generator, which is independent from here on.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.below(u64::MAX))
    }
}

/// Returns the seed of a run; `KEYWARD_TEST_SEED` repeats a run.
pub(crate) fn seed() -> u64 {
    let seed = match std::env::var("KEYWARD_TEST_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    // Printed with the test's output if it fails.
    println!("KEYWARD_TEST_SEED={seed}");
    seed
}
