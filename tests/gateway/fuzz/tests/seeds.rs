//! Runs the fuzzer's initial inputs and all earlier findings on stable Rust.
#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;

#[test]
fn no_seed_breaks_a_guarantee() {
    for (name, target) in keyward_fuzz::TARGETS {
        // Cargo runs a test in its package's folder.
        let seeds: Vec<_> = fs::read_dir(Path::new("seeds").join(name))
            .unwrap()
            .collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let path = seed.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
        }
    }
}
