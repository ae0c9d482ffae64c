//! What waits of an instance, flow by flow: a claim takes of each its part, and neither what waits in a flow nor how many
//! other messages there are costs anything.

use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlStr};

use crate::domain::claim::Wanted;
use crate::domain::class::Class;
use crate::domain::flow::{Flow, Room};
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::time::Timestamp;
use crate::store::sqlite_claim::{NUMBERS, get, id, unwanted_before_its_turn, with_numbers};
use crate::store::{SqliteStore, StoreError};

/// Where the flow of a row stands.
const FLOW: usize = 6;

/// The flows of the classes, the next wake and the flows that campaigns have in one statement: each goes to another thread
/// and back.
static CLAIM: LazyLock<SqlStr> = LazyLock::new(|| {
    let arm = |class: Class| {
        let limit = match class {
            Class::Urgent | Class::Reminder => "?5",
            Class::Normal => "?4",
            Class::Campaign => "?7",
            Class::Bulk => "?8",
        };
        statement(&Flow::of_class(class).code().to_string(), "", limit)
    };
    let more = [include_str!("sql/next_wake.sql").to_owned(), include_str!("sql/flows.sql").to_owned()];
    with_numbers(&Class::ALL.map(arm).into_iter().chain(more).collect::<Vec<_>>().join(" UNION ALL "))
});

/// More of one flow.
static OF_FLOW: LazyLock<SqlStr> =
    LazyLock::new(|| with_numbers(&statement("?7", " AND (m.wake_at, m.id) > (?8, ?9)", "?4")));

fn statement(flow: &str, after: &str, limit: &str) -> String {
    let text = include_str!("sql/claim.sql");
    text.replace("{unwanted}", &unwanted_before_its_turn())
        .replace("{flow}", flow)
        .replace("{after}", after)
        .replace("{limit}", limit)
}

/// What a claim asks for.
pub(super) struct Asked<'a> {
    pub(super) instance: &'a InstanceName,
    pub(super) wanted: &'a Wanted,
    /// The ids that are in hand, as a JSON list.
    pub(super) except: String,
    /// The jobs and campaigns that are paused, as a JSON object.
    pub(super) paused: String,
}

/// What one statement finds.
#[derive(Default)]
struct Listed {
    strict: Vec<SqliteRow>,
    /// Rows of the flows of classes.
    at_hand: HashMap<Flow, VecDeque<SqliteRow>>,
    /// Flows that have something to claim now, or may have.
    open: Vec<Flow>,
    /// The next wake after the horizon of each flow that has one.
    next_wakes: Vec<(Flow, Timestamp)>,
}

/// What a claim found.
pub(super) struct Found {
    /// The strict ones first, each flow in the order of wakes.
    pub(super) rows: Vec<SqliteRow>,
    /// Whether some flow may have more.
    pub(super) more: bool,
    /// The next wake after the horizon.
    pub(super) next_wake: Option<Timestamp>,
}

impl Asked<'_> {
    /// The rows that are wanted.
    pub(super) async fn rows(&self, store: &SqliteStore) -> Result<Found, StoreError> {
        let Listed { strict: rows, mut at_hand, open, next_wakes } = self.listed(store).await?;
        let mut found = Found { rows, more: false, next_wake: None };
        let mut room = Room::new(self.wanted.limit, &self.wanted.held, open);
        let mut cursors: HashMap<Flow, (Timestamp, MessageId)> = HashMap::new();
        loop {
            let round = room.round();
            if round.is_empty() {
                break;
            }
            for (flow, part) in round {
                let rows: Vec<SqliteRow> = match at_hand.get_mut(&flow) {
                    Some(rows) => rows.drain(..part.min(rows.len())).collect(),
                    None if flow.is_of_class() => Vec::new(),
                    None => self.of_flow(store, flow, cursors.get(&flow).copied(), part).await?,
                };
                if let Some(last) = rows.last() {
                    cursors.insert(flow, (wake_of(last)?, id(last, 0)?));
                }
                room.brought(flow, rows.len());
                found.rows.extend(rows);
            }
        }
        found.more = room.is_short();
        // Of a flow that has more anyway the next wake is of no interest: it is asked for again when half has left.
        found.next_wake = next_wakes.into_iter().filter(|(flow, _)| !room.is_short_of(*flow)).map(|(_, at)| at).min();
        Ok(found)
    }

    /// How many rows of the flow of a class could be wanted.
    fn most(&self, class: Class) -> usize {
        let flow = Flow::of_class(class);
        let held = self.wanted.held.iter().find(|(f, _)| *f == flow).map_or(0, |(_, n)| *n);
        self.wanted.limit.saturating_sub(held)
    }

    async fn listed(&self, store: &SqliteStore) -> Result<Listed, StoreError> {
        let turns = [Class::Normal, Class::Campaign, Class::Bulk].map(|class| self.most(class));
        let all = self
            .bound(sqlx::query(CLAIM.clone()), turns[0])
            .bind(i64::try_from(turns[1]).unwrap_or(i64::MAX))
            .bind(i64::try_from(turns[2]).unwrap_or(i64::MAX))
            .fetch_all(&store.readers)
            .await
            .map_err(StoreError::database("claim messages"))?;
        let mut listed = Listed::default();
        for row in all {
            let flow = Flow::from_code(get(&row, FLOW)?);
            let is_message = row.try_get_raw(0).is_ok_and(|v| !sqlx::ValueRef::is_null(&v));
            if !is_message {
                let next = get::<Option<&str>>(&row, NUMBERS)?.and_then(|n| n.parse().ok()).map(Timestamp);
                listed.next_wakes.extend(next.map(|at| (flow, at)));
                listed.open.extend(get::<Option<&str>>(&row, 1)?.map(|_| flow));
            } else if !flow.class().is_strict() {
                listed.at_hand.entry(flow).or_default().push_back(row);
            } else if listed.strict.len() < self.wanted.strict_limit {
                listed.strict.push(row);
            }
        }
        // What there was no room for may be there: it is asked for when some of what is in hand has left.
        let of_classes = [Class::Normal, Class::Campaign, Class::Bulk].into_iter().zip(turns);
        let of_classes = of_classes.map(|(class, most)| (Flow::of_class(class), most));
        let open = of_classes.filter(|(flow, most)| *most == 0 || listed.at_hand.contains_key(flow)).map(|(f, _)| f);
        listed.open = open.chain(std::mem::take(&mut listed.open)).collect();
        Ok(listed)
    }

    async fn of_flow(
        &self,
        store: &SqliteStore,
        flow: Flow,
        after: Option<(Timestamp, MessageId)>,
        limit: usize,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let (wake, id) = after.map_or((i64::MIN, Vec::new()), |(wake, id)| (wake.0, id.0.to_vec()));
        self.bound(sqlx::query(OF_FLOW.clone()), limit)
            .bind(flow.code())
            .bind(wake)
            .bind(id)
            .fetch_all(&store.readers)
            .await
            .map_err(StoreError::database("claim messages of a campaign"))
    }

    fn bound<'q>(&'q self, query: Query<'q>, limit: usize) -> Query<'q> {
        query
            .bind(&*self.instance.0)
            .bind(self.wanted.horizon.0)
            .bind(&self.except)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(i64::try_from(self.wanted.strict_limit).unwrap_or(i64::MAX))
            .bind(&self.paused)
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// The wake of a row, which is the fourth of its numbers.
fn wake_of(row: &SqliteRow) -> Result<Timestamp, StoreError> {
    let numbers = get::<&str>(row, NUMBERS)?;
    let wake = numbers.split(' ').nth(3).and_then(|n| n.parse().ok()).map(Timestamp);
    wake.ok_or_else(|| StoreError::Unreadable { column: NUMBERS, what: format!("'{numbers}' names no wake") })
}
