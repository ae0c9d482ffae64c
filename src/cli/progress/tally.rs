//! How the messages of campaigns stand, kept up to date between whole counts.
//!
//! A whole count goes through all messages of a campaign. It is made rarely enough that it takes a small part of the time;
//! in between what was recorded of attempts since is added. Acks, and what persons do, are as of the latest whole count.

use std::collections::{BTreeMap, HashMap};

use crate::clock::{self, Stopwatch};
use crate::domain::campaign::CampaignName;
use crate::domain::state::StateName;
use crate::domain::time::{Millis, Timestamp};
use crate::store::view::{CampaignCount, CampaignView, RecordView};
use crate::store::{SqliteStore, StoreError};

/// The spans over which rates are told.
const MINUTE: Millis = Millis::seconds(60);
const FIVE_MINUTES: Millis = Millis::seconds(300);

/// A campaign is counted as a whole no more often.
const COUNT_EVERY: Millis = Millis::seconds(1);

/// Records read in one go; where there are more, everything is counted anew.
const RECORDS: u32 = 50_000;

/// See the [module](self).
pub(super) struct Tally {
    /// How many times longer than a whole count it is until the next.
    cost: i64,
    /// The latest record that was read.
    read: Option<i64>,
    campaigns: HashMap<CampaignName, Counted>,
}

/// A campaign as it was counted, and what came since.
struct Counted {
    view: CampaignView,
    count_at: Timestamp,
    /// Sends by second.
    sends: BTreeMap<i64, u64>,
    /// The latest record that is among them.
    sends_read: i64,
}

impl Tally {
    /// Counts nothing yet; whole counts of a campaign take one part in `cost` of the time.
    pub(super) fn new(cost: i64) -> Tally {
        Tally { cost, read: None, campaigns: HashMap::new() }
    }

    /// Forgets what is not among these.
    pub(super) fn keep_only(&mut self, names: &[CampaignName]) {
        self.campaigns.retain(|name, _| names.contains(name));
    }

    /// Takes in what was recorded since the last time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn catch_up(&mut self, store: &SqliteStore) -> Result<(), StoreError> {
        let Some(read) = self.read else {
            self.read = Some(store.latest_record().await?);
            return Ok(());
        };
        let records = store.records_after(read, RECORDS).await?;
        if records.len() >= usize::try_from(RECORDS).unwrap_or(usize::MAX) {
            self.campaigns.clear();
            self.read = Some(store.latest_record().await?);
            return Ok(());
        }
        self.read = records.last().map_or(self.read, |r| Some(r.number));
        let mut by_occurrence: HashMap<i64, &mut Counted> =
            self.campaigns.values_mut().map(|c| (c.view.occurrence, c)).collect();
        for record in &records {
            if let Some(counted) = record.occurrence.and_then(|o| by_occurrence.get_mut(&o)) {
                counted.add(record);
            }
        }
        let read = self.read.unwrap_or(0);
        self.campaigns.values_mut().for_each(|c| c.sends_read = c.sends_read.max(read));
        Ok(())
    }

    /// How a campaign stands at `now`, counted as a whole where that is due or `anew` asks for it; `None` where it is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn view(
        &mut self,
        store: &SqliteStore,
        name: &CampaignName,
        anew: bool,
        now: Timestamp,
    ) -> Result<Option<CampaignView>, StoreError> {
        let fresh = self.campaigns.get(name).is_some_and(|c| now < c.count_at) && !anew;
        if !fresh {
            let took = Stopwatch::start();
            let Some(view) = store.campaign(&name.job, Some(name.nominal), now).await? else {
                self.campaigns.remove(name);
                return Ok(None);
            };
            let (sends, sends_read) = match self.campaigns.remove(name) {
                Some(known) => (known.sends, known.sends_read),
                None => {
                    let (sends, read) = store.sends_since(view.occurrence, now - FIVE_MINUTES).await?;
                    (sends.into_iter().collect(), read)
                }
            };
            // Two statements need not see the same: what one of them did not is read once more, and each takes it in once.
            let counted = if view.counts.is_empty() { sends_read } else { view.recorded };
            self.read = self.read.map(|read| read.min(sends_read).min(counted));
            let count_at = clock::now() + COUNT_EVERY.max(Millis(took.elapsed().0.saturating_mul(self.cost)));
            self.campaigns.insert(name.clone(), Counted { view, count_at, sends, sends_read });
        }
        Ok(self.campaigns.get_mut(name).map(|counted| {
            let mut view = counted.view.clone();
            view.sent_lately = counted.lately(now);
            view
        }))
    }
}

impl Counted {
    /// Takes in a record.
    fn add(&mut self, record: &RecordView) {
        if let (StateName::Sent, Some(at), true) = (record.state, record.left_at, record.number > self.sends_read) {
            *self.sends.entry(at.0.div_euclid(1_000)).or_default() += 1;
        }
        self.sends_read = self.sends_read.max(record.number);
        if record.number <= self.view.recorded {
            return;
        }
        self.view.recorded = record.number;
        let rests = matches!(record.state, StateName::Sent | StateName::Failed | StateName::InDoubt);
        if !rests || !self.take_one() {
            return;
        }
        if let (StateName::Sent, Some(at)) = (record.state, record.left_at) {
            let (first, last) = self.view.sent.unwrap_or((at, at));
            self.view.sent = Some((first.min(at), last.max(at)));
        }
        let (state, reason) = (record.state, record.reason.clone());
        match self.view.counts.iter_mut().find(|c| c.state == state && c.reason == reason && c.ack.is_none()) {
            Some(known) => known.messages += 1,
            None => self.view.counts.push(CampaignCount { state, reason, ack: None, messages: 1 }),
        }
    }

    /// Takes one message from those that are undone: what is on its way before what waits.
    fn take_one(&mut self) -> bool {
        let undone = [StateName::Sending, StateName::Typing, StateName::Claimed, StateName::Scheduled];
        let from =
            undone.iter().find_map(|state| self.view.counts.iter().position(|c| c.state == *state && c.messages > 0));
        let Some(at) = from else { return false };
        self.view.counts[at].messages -= 1;
        self.view.counts.retain(|c| c.messages > 0);
        true
    }

    /// Sends of the last minute and of the last five, whole seconds.
    fn lately(&mut self, now: Timestamp) -> (u64, u64) {
        let second = now.0.div_euclid(1_000);
        self.sends = self.sends.split_off(&(second - FIVE_MINUTES.0 / 1_000));
        let since = |span: Millis| self.sends.range(second - span.0 / 1_000 + 1..).map(|(_, n)| n).sum();
        (since(MINUTE), since(FIVE_MINUTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::class::Class;

    fn counted(counts: &[(StateName, u64)], recorded: i64) -> Counted {
        let count = |(state, messages): &(StateName, u64)| CampaignCount {
            state: *state,
            reason: None,
            ack: None,
            messages: *messages,
        };
        let view = CampaignView {
            occurrence: 1,
            name: CampaignName { job: "sale".to_owned(), nominal: Timestamp(0) },
            recipients: 10,
            cancelled_at: None,
            renewed: false,
            replaced: 0,
            file: None,
            instances: vec!["shop".to_owned()],
            class: Class::default(),
            flow: None,
            expires: None,
            counts: counts.iter().map(count).collect(),
            due: None,
            sent: None,
            sent_lately: (0, 0),
            recorded,
        };
        Counted { view, count_at: Timestamp(0), sends: BTreeMap::new(), sends_read: 0 }
    }

    fn record(number: i64, state: StateName, left_ms: i64) -> RecordView {
        RecordView { number, occurrence: Some(1), state, reason: None, left_at: Some(Timestamp(left_ms)) }
    }

    #[test]
    fn a_record_moves_one_message_and_one_that_was_counted_already_moves_none() {
        let mut c = counted(&[(StateName::Scheduled, 8), (StateName::Sending, 1), (StateName::Sent, 1)], 5);
        c.add(&record(5, StateName::Sent, 1_000));
        assert_eq!(c.view.states(), [(StateName::Scheduled, 8), (StateName::Sending, 1), (StateName::Sent, 1)]);
        c.add(&record(6, StateName::Sent, 2_000));
        c.add(&record(7, StateName::Failed, 3_000));
        c.add(&record(8, StateName::Scheduled, 4_000));
        assert_eq!(c.view.states(), [(StateName::Scheduled, 7), (StateName::Sent, 2), (StateName::Failed, 1)]);
        assert_eq!((c.view.messages(), c.view.sent), (10, Some((Timestamp(2_000), Timestamp(2_000)))));
    }

    #[test]
    fn rates_count_the_sends_of_the_last_minute_and_of_the_last_five() {
        let mut c = counted(&[(StateName::Scheduled, 9)], 0);
        for (number, left) in [(1, 10_000), (2, 250_000), (3, 290_000), (4, 299_999)] {
            c.add(&record(number, StateName::Sent, left));
        }
        assert_eq!(c.lately(Timestamp(300_000)), (3, 4));
        assert_eq!(c.lately(Timestamp(315_000)), (2, 3));
        assert_eq!(c.lately(Timestamp(700_000)), (0, 0));
    }
}
