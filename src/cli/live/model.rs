//! What the live view knows: folded from news, completed by looks at the database.

use std::collections::{HashMap, VecDeque};

use crate::cli::progress::watch::UnderWay;
use crate::domain::ack::Ack;
use crate::domain::id::MessageId;
use crate::domain::time::{Millis, Timestamp};
use crate::feed::News;
use crate::store::Pause;
use crate::store::view::{Coming, LaneView};

/// Landed messages remembered; more never fit.
const LANDED: usize = 200;

/// Acks that came before their message's answer.
const EARLY: usize = 1_000;

/// A chat in which typing is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Typing {
    pub id: MessageId,
    pub chat: String,
    pub job: String,
    pub began_at: Timestamp,
    pub slot: Timestamp,
}

/// A send that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Landed {
    pub at: Timestamp,
    pub late: Millis,
    pub chat: String,
    pub job: String,
    pub outcome: &'static str,
    pub why: String,
    pub gateway_id: Option<String>,
    pub ack: Option<Ack>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Model {
    pub sandbox: bool,
    pub started_at: Timestamp,
    pub now: Timestamp,
    pub ready: bool,
    pub under_way: UnderWay,
    pub typing: Vec<Typing>,
    pub landed: VecDeque<Landed>,
    pub coming: Vec<Coming>,
    pub lanes: Vec<LaneView>,
    pub pauses: Vec<Pause>,
    pub doubts: i64,
    pub sent: u64,
    pub failed: u64,
    pub read: u64,
    pub log: Vec<String>,
    early: HashMap<String, Ack>,
}

impl Model {
    pub(super) fn new(sandbox: bool, now: Timestamp) -> Model {
        Model {
            sandbox,
            started_at: now,
            now,
            ready: false,
            under_way: UnderWay::default(),
            typing: Vec::new(),
            landed: VecDeque::new(),
            coming: Vec::new(),
            lanes: Vec::new(),
            pauses: Vec::new(),
            doubts: 0,
            sent: 0,
            failed: 0,
            read: 0,
            log: Vec::new(),
            early: HashMap::new(),
        }
    }

    /// Takes in one piece of news.
    pub(super) fn take(&mut self, news: News) {
        match news {
            News::Ready => self.ready = true,
            News::Typing { id, chat, job, slot, began_at, .. } => match self.typing.iter_mut().find(|t| t.id == id) {
                Some(known) => known.slot = slot,
                None => {
                    let (chat, job) = (chat.to_string(), job.unwrap_or_default());
                    self.typing.push(Typing { id, chat, job, began_at, slot });
                }
            },
            News::LetGo { id } => self.typing.retain(|t| t.id != id),
            News::Sent { id, chat, job, at, late, outcome, why, gateway_id, .. } => {
                self.typing.retain(|t| t.id != id);
                let ack = gateway_id.as_ref().and_then(|g| self.early.remove(g));
                match outcome {
                    "accepted" => self.sent += 1,
                    "refused" => self.failed += 1,
                    _ => {}
                }
                let (chat, job) = (chat.to_string(), job.unwrap_or_default());
                self.landed.push_front(Landed { at, late, chat, job, outcome, why, gateway_id, ack });
                self.landed.truncate(LANDED);
            }
            News::Ack { gateway_id, ack, .. } => {
                let known = self.landed.iter_mut().find(|l| l.gateway_id.as_ref() == Some(&gateway_id));
                match known {
                    Some(landed) => {
                        let raised = Ack::raise(landed.ack, ack);
                        let was_read = landed.ack.is_some_and(|a| a.rank() >= Ack::Read.rank());
                        self.read += u64::from(!was_read && raised.rank() >= Ack::Read.rank());
                        landed.ack = Some(raised);
                    }
                    None if self.early.len() < EARLY => {
                        let raised = Ack::raise(self.early.get(&gateway_id).copied(), ack);
                        self.early.insert(gateway_id, raised);
                    }
                    None => self.early.clear(),
                }
            }
        }
    }
}
