//! Words and rules. Values in, values out: no clock, no I/O, no async, no randomness.
//!
//! A **job** declares a piece of sending. Its **schedule** fires **occurrences**, each named by its nominal
//! instant. Every recipient of an occurrence becomes one **message**: the row of the queue. A message is **due**
//! when it should leave; its **slot** is the instant it may leave (due, or later where its lane cannot take it);
//! the recipient sees typing for the **lead** before the slot. Each try to hand it to a **gateway** through one of
//! its **instances** (logged-in accounts) is an **attempt**. What the network says later are **acks**.
//!
//! An attempt whose outcome nobody knows is **in doubt**. **Evidence** settles it: an **echo** (a webhook that tells of a
//! message this account sent), an ack, or two looks into the chat's history after a **quarantine**. The **circuit** of an
//! instance opens after several unclear answers in a row. A message that dead runs had in their hands again and again is
//! **poison**.
//!
//! The messages of one occurrence with many recipients are a **campaign**, followed as one. A **recall** has those of it that
//! were sent deleted for everyone.
//!
//! **Consent** is what a recipient said about being written to; whoever opted out is **suppressed**: nothing is sent to them.
//!
//! A **contact** is what is known of somebody: **attributes** by name, among them **tags**. A **list** names contacts, its
//! **members**; a **selection** is a condition on attributes that takes some of them.
//!
//! (Other queues call what we call a message a *job*; here a job is the declaration.)

pub mod ack;
pub mod brake;
pub mod campaign;
pub mod chore;
pub mod claim;
pub mod class;
pub mod consent;
pub mod content;
pub mod country;
pub mod cron;
pub mod doubt;
pub mod draw;
pub mod event;
pub mod flow;
pub mod follow;
pub mod frequency;
pub mod id;
pub mod job;
pub mod message;
pub mod misfire;
pub mod occurrence;
pub mod outcome;
pub mod pace;
pub mod reason;
pub mod recall;
pub mod recipient;
pub mod render;
mod resemblance;
pub mod retry;
pub mod sane;
pub mod schedule;
pub mod selection;
pub mod sender;
pub mod shift;
pub mod state;
pub mod template;
pub mod time;
pub mod timeline;
pub mod typing;
pub mod warm_up;
pub mod window;
mod wording;
pub mod words;
