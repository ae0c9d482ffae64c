//! What happens, told as it happens to whoever watches: the terminal's live view now, other views later. A watcher
//! that cannot follow misses news; nothing waits for it, and nothing durable is told only here.

use tokio::sync::broadcast;

use crate::domain::ack::Ack;
use crate::domain::id::{InstanceName, MessageId};
use crate::domain::recipient::Chat;
use crate::domain::time::{Millis, Timestamp};

/// News a watcher may fall behind before it misses the oldest.
const BACKLOG: usize = 8_192;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum News {
    /// The daemon is ready.
    Ready,
    /// Typing is shown in a chat.
    Typing {
        /// For which message.
        id: MessageId,
        /// Through which instance.
        instance: InstanceName,
        /// In which chat.
        chat: Chat,
        /// Of which job.
        job: Option<String>,
        /// When it shall leave.
        slot: Timestamp,
        /// When typing began.
        began_at: Timestamp,
    },
    /// This node no longer holds the message; where it was typed for, typing ended.
    LetGo {
        /// Which message.
        id: MessageId,
    },
    /// A send ended.
    Sent {
        /// Which message.
        id: MessageId,
        /// Through which instance.
        instance: InstanceName,
        /// To which chat.
        chat: Chat,
        /// Of which job.
        job: Option<String>,
        /// When the request left.
        at: Timestamp,
        /// How long after its due instant it left.
        late: Millis,
        /// The outcome's name.
        outcome: &'static str,
        /// The outcome in words.
        why: String,
        /// The bare message id, where accepted.
        gateway_id: Option<String>,
    },
    /// An ack came.
    Ack {
        /// Through which instance the message went.
        instance: InstanceName,
        /// The bare message id.
        gateway_id: String,
        /// The level.
        ack: Ack,
    },
}

/// Where news are told.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<News>);

impl Default for Feed {
    fn default() -> Self {
        Feed(broadcast::Sender::new(BACKLOG))
    }
}

impl Feed {
    /// Tells everybody who watches.
    pub fn tell(&self, news: News) {
        // Nobody watching is no error.
        let _ = self.0.send(news);
    }

    /// Watches from now on.
    pub fn watch(&self) -> broadcast::Receiver<News> {
        self.0.subscribe()
    }
}
