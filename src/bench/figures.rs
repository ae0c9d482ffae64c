//! What came out of a run, and the middle of several.

use crate::domain::time::Millis;

/// How late something was, in microseconds. Negative is early.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lateness {
    /// The earliest.
    pub least: i64,
    /// Half of them were no later.
    pub p50: i64,
    /// 99 of a hundred were no later.
    pub p99: i64,
    /// The latest.
    pub most: i64,
}

impl Lateness {
    /// Of some values; `None` of none.
    pub fn of(mut values: Vec<i64>) -> Option<Lateness> {
        values.sort_unstable();
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Lateness { least: *values.first()?, p50: at(50)?, p99: at(99)?, most: *values.last()? })
    }
}

/// What the beginning of a daemon is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// A new file is made, with all its tables.
    pub new: Millis,
    /// A file that is there is opened, with what is checked before the first send.
    pub open: Millis,
    /// The first messages are taken into hand.
    pub claim: Millis,
    /// The whole file is checked; of a large file in a quiet moment.
    pub check: Millis,
}

/// The figures of one run. A figure that has no meaning in a scenario is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Messages it is about.
    pub messages: u64,
    /// Messages a second.
    pub per_second: Option<u64>,
    /// How late they arrived at the gateway.
    pub late: Option<Lateness>,
    /// Processor time of the daemon for each message, in microseconds.
    pub cpu_us: Option<u64>,
    /// The daemon's memory at its highest, in KiB.
    pub memory_kib: Option<u64>,
    /// Processor time of the daemon while it waits, in millionths of a core.
    pub core_ppm: Option<u64>,
    /// Acks recorded a second.
    pub acks_per_second: Option<u64>,
    /// From the start of the daemon's process to its first request, in ms.
    pub first_ms: Option<u64>,
    /// What its beginning is made of.
    pub beginning: Option<Beginning>,
}

/// Figure by figure the middle of several runs; of an even number the lower one of the two.
pub fn median(runs: &[Figures]) -> Figures {
    fn middle<T: Ord>(mut all: Vec<T>) -> Option<T> {
        all.sort_unstable();
        let at = all.len().saturating_sub(1) / 2;
        all.into_iter().nth(at)
    }
    let late = |of: fn(&Lateness) -> i64| middle(runs.iter().filter_map(|r| r.late.as_ref().map(of)).collect());
    let late = (|| {
        Some(Lateness {
            least: late(|l| l.least)?,
            p50: late(|l| l.p50)?,
            p99: late(|l| l.p99)?,
            most: late(|l| l.most)?,
        })
    })();
    let part =
        |of: fn(&Beginning) -> Millis| middle(runs.iter().filter_map(|r| r.beginning.as_ref().map(of)).collect());
    let beginning = (|| {
        Some(Beginning {
            new: part(|b| b.new)?,
            open: part(|b| b.open)?,
            claim: part(|b| b.claim)?,
            check: part(|b| b.check)?,
        })
    })();
    let of = |figure: fn(&Figures) -> Option<u64>| middle(runs.iter().filter_map(figure).collect());
    Figures {
        messages: middle(runs.iter().map(|r| r.messages).collect()).unwrap_or(0),
        per_second: of(|r| r.per_second),
        late,
        cpu_us: of(|r| r.cpu_us),
        memory_kib: of(|r| r.memory_kib),
        core_ppm: of(|r| r.core_ppm),
        acks_per_second: of(|r| r.acks_per_second),
        first_ms: of(|r| r.first_ms),
        beginning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_that_so_many_do_not_exceed() {
        let late = Lateness::of((1..=200).rev().collect()).unwrap();
        assert_eq!(late, Lateness { least: 1, p50: 100, p99: 198, most: 200 });
        assert_eq!(Lateness::of(vec![-7]).unwrap(), Lateness { least: -7, p50: -7, p99: -7, most: -7 });
        assert_eq!(Lateness::of(Vec::new()), None);
    }

    #[test]
    fn the_median_is_taken_figure_by_figure() {
        let run =
            |per_second, cpu_us| Figures { per_second: Some(per_second), cpu_us: Some(cpu_us), ..Figures::default() };
        let middle = median(&[run(10, 5), run(30, 9), run(20, 1)]);
        assert_eq!((middle.per_second, middle.cpu_us, middle.memory_kib), (Some(20), Some(5), None));
    }
}
