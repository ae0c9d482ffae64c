//! The text of a jobs file is read whole or refused with places that exist.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use onthedot::config;
use onthedot::domain::time::Timestamp;

/// Relative paths start here: the folder holds a CSV file and a calendar.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/jobs.yaml");

/// 2026-03-01T00:00:00Z.
const NOW: Timestamp = Timestamp(1_772_323_200_000);

fuzz_target!(|text: &str| {
    let env = |name: &str| name.starts_with("SET").then(|| "value".to_owned());
    match config::parse(Path::new(PATH), text, &env, (true, None), NOW) {
        Ok(settings) => {
            for job in settings.jobs.iter().take(4) {
                let mut met = 0;
                job.recipients.for_each(|_| met += 1).expect("what was checked can be read again");
                assert_eq!(met, job.recipients.size);
            }
        }
        Err(error) => {
            assert!(!error.0.is_empty(), "a refusal says why");
            let lines = text.split(['\n', '\r']).count();
            for finding in error.0.iter().filter(|f| f.file == PATH) {
                assert!(finding.line <= lines + 1, "line {} of {lines}: {}", finding.line, finding.message);
            }
        }
    }
});
