//! The text of a sandbox's scenario is read whole or refused with places that exist.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use onthedot::sandbox::scenario_file;

fuzz_target!(|text: &str| {
    match scenario_file::parse(Path::new("scenario.yaml"), text) {
        Ok(scenario) => {
            for (meets, plan) in &scenario.acks_of {
                meets.fits("201234567890@c.us", "one");
                assert_eq!(plan.steps("3EB0AA").len(), plan.levels.len() * plan.repeat as usize);
            }
        }
        Err(error) => {
            assert!(!error.0.is_empty(), "a refusal says why");
            let lines = text.split(['\n', '\r']).count();
            for finding in &error.0 {
                assert!(finding.line <= lines + 1, "line {} of {lines}: {}", finding.line, finding.message);
            }
        }
    }
});
