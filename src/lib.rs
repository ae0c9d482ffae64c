//! Onthedot sends messages at their instant: shortly before one is due the recipient sees the three dots of typing,
//! and the message lands on the dot.
//!
//! A jobs file or a command says who gets what, through which account, when. Every recipient becomes a durable row
//! of an embedded SQLite queue; the gateway's response and every later ack are recorded beside it.
//!
//! The modules stand on floors, and each looks down only:
//!
//! 0. [`domain`], the words and the rules; 1. [`engine`], the machine that decides;
//! 2. [`clock`], [`config`], [`store`] and [`gateway`], the world outside (with [`crash_point`] and [`yield_point`], for tests), with [`table`], rows of data files, and [`feed`], the news for who watches;
//! 3. [`planner`], [`worker`] (with [`rendering`], [`hours`] and [`repeats`]), [`receipts`], [`follower`], [`doubt`], [`recall`], [`intake`], [`import`](mod@import), [`repair`], [`rescuer`], [`explain`], [`future`], [`upkeep`], [`chores`], [`zones`] and [`sandbox`], which drive them;
//! 4. [`http`], [`daemon`] and [`mod@bench`], which measures it; 5. [`cli`].

pub mod bench;
pub mod brake;
pub mod check;
pub mod chores;
pub mod cli;
pub mod clock;
pub mod config;
pub mod contacts;
pub mod crash_point;
pub mod daemon;
pub mod domain;
pub mod doubt;
pub mod engine;
pub mod erasure;
pub mod explain;
pub mod feed;
pub mod follower;
pub mod future;
pub mod gateway;
pub mod hours;
pub mod http;
pub mod import;
pub mod intake;
pub mod live_lists;
pub mod planner;
pub mod recall;
pub mod receipts;
pub mod rendering;
pub mod repair;
pub mod repeats;
pub mod report;
pub mod rescuer;
pub mod resend;
pub mod sandbox;
pub mod store;
pub mod table;
pub mod upkeep;
pub mod worker;
pub mod yield_point;
pub mod zones;
