//! The parts of a daemon: started in order, stopped in order.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{DaemonError, DaemonOptions, lanes};
use crate::chores::Chores;
use crate::clock::{self, Stopwatch};
use crate::config::InstanceSettings;
use crate::domain::id::InstanceName;
use crate::domain::job::Manner;
use crate::domain::time::Millis;
use crate::doubt::{self, DoubtSeeker};
use crate::feed::News;
use crate::follower::Follower;
use crate::gateway::Gateway;
use crate::http;
use crate::intake::{self, Defaults, IdMaker, SharedIds};
use crate::live_lists::LiveLists;
use crate::planner::Planner;
use crate::recall::Recaller;
use crate::receipts::{Confirm, Inbox, Receipts};
use crate::rescuer::Rescuer;
use crate::store::{SqliteStore, Store, StoreError};
use crate::worker::{Activity, Worker};
use crate::zones;
use crate::{brake, upkeep};

/// How long the parts beside the worker may take to end, once the last send is answered.
const PARTS_END: Millis = Millis(700);

/// What the parts have in common.
pub(super) struct Parts {
    pub(super) store: Arc<SqliteStore>,
    pub(super) instances: Vec<InstanceSettings>,
    pub(super) accounts: HashMap<InstanceName, Arc<dyn Gateway>>,
    pub(super) stop: CancellationToken,
}

/// The parts at work.
pub(super) struct Running {
    pub(super) activity: watch::Receiver<Activity>,
    pub(super) receipts: Receipts,
    pub(super) worker: JoinHandle<()>,
    /// Ends the parts that must outlive the worker: webhooks may come until the last send is answered.
    last: CancellationToken,
    others: Vec<JoinHandle<()>>,
    pub(super) sends: bool,
    pub(super) recaller: Recaller,
}

impl Parts {
    /// Starts them, the worker last.
    pub(super) async fn start(
        self,
        listener: Option<TcpListener>,
        options: &DaemonOptions,
        took: Stopwatch,
    ) -> Result<Running, DaemonError> {
        let shared: Arc<dyn Store> = Arc::clone(&self.store) as Arc<dyn Store>;
        let zone = file_zone(&self.store, options).await?;
        let served = lanes::served(&self, &zone).await?;
        let ids = Arc::new(IdMaker::default());
        let planner = Planner::new(Arc::clone(&shared), Arc::clone(&ids), self.store.seed());
        let served = if options.passive { Vec::new() } else { served };
        let worker = Worker::new(Arc::clone(&shared), served, options.feed.clone(), planner.settled());
        let activity = worker.activity();
        let longest = self.instances.iter().map(|i| i.quarantine).max().unwrap_or(Millis::ZERO);
        let rescuer = Rescuer::new(Arc::clone(&self.store), longest);
        let trouble = rescuer.trouble();
        let news = Arc::new(Notify::new());
        let inboxes = self.inboxes(&ids, &zone).await?;
        let receipts = Receipts::new(Arc::clone(&self.store), inboxes, options.feed.clone(), Arc::clone(&news));
        let last = CancellationToken::new();
        let (ready, is_ready) = watch::channel(false);
        let mut others = Vec::new();
        if let Some(listener) = listener {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "listening for webhooks");
            }
            let serving =
                http::serve(listener, receipts.clone(), http::Readiness { ready: is_ready, trouble }, last.clone());
            others.push(tokio::spawn(async move {
                if let Err(e) = serving.await {
                    tracing::error!(error = %e, "the HTTP server stopped");
                }
            }));
        }
        others.push(tokio::spawn(upkeep::heartbeat(Arc::clone(&self.store), last.clone())));
        others.push(tokio::spawn(brake::watch(Arc::clone(&self.store), last.clone())));
        others.push(tokio::spawn(upkeep::expire(Arc::clone(&self.store), last.clone())));
        let follower = Follower::new(Arc::clone(&self.store), ids, news);
        others.push(tokio::spawn(follower.run(self.stop.clone())));
        planner.settle_passed(clock::now()).await?;
        let live_lists = LiveLists::new(Arc::clone(&self.store), planner.clone());
        others.push(tokio::spawn(live_lists.run(self.stop.clone())));
        others.push(tokio::spawn(planner.run(self.stop.clone())));
        let recaller = Recaller::new(Arc::clone(&self.store), self.accounts.clone());
        if !options.passive {
            others.push(tokio::spawn(recaller.clone().run(self.stop.clone())));
            others.push(tokio::spawn(DoubtSeeker::new(shared, self.quarantined()).run(self.stop.clone())));
        }
        let chores = Chores::start(Arc::clone(&self.store), zone).await?;
        others.push(tokio::spawn(chores.serve(self.stop.clone())));
        others.push(tokio::spawn(zones::watch(Arc::clone(&self.store), self.stop.clone())));
        let holder = worker.holder();
        let not_held = async move |ids| holder.not_held(ids).await;
        others.push(tokio::spawn(rescuer.run(not_held, self.stop.clone())));
        others.push(tokio::spawn(upkeep::watchdog(worker.beat(), last.clone())));
        let worker = tokio::spawn(worker.run(self.stop.clone()));
        let _ = ready.send(true);
        upkeep::notify(&[NotifyState::Ready]);
        // Kept open as long as the server may ask.
        others.push(tokio::spawn({
            let last = last.clone();
            async move {
                last.cancelled().await;
                drop(ready);
            }
        }));
        tracing::info!(ms = took.elapsed().0, passive = options.passive, "ready");
        options.feed.tell(News::Ready);
        Ok(Running { activity, receipts, worker, last, others, sends: !options.passive, recaller })
    }

    /// The accounts, each with how long after a send its histories are trusted.
    fn quarantined(&self) -> doubt::Accounts {
        let of = |name: &InstanceName| {
            self.instances.iter().find(|i| i.name == *name).map_or(Millis::ZERO, |i| i.quarantine)
        };
        self.accounts.iter().map(|(name, gateway)| (name.clone(), (Arc::clone(gateway), of(name)))).collect()
    }

    /// Where webhooks come in, and how each instance understands them and answers.
    async fn inboxes(&self, ids: &SharedIds, zone: &str) -> Result<HashMap<InstanceName, Inbox>, StoreError> {
        let stored = intake::stored_defaults(&self.store).await?;
        let plain = || Defaults { instance: None, manner: Manner::default(), zone: zone.to_owned() };
        let defaults = Arc::new(stored.unwrap_or_else(plain));
        let mut inboxes = HashMap::new();
        for settings in &self.instances {
            let Some(gateway) = self.accounts.get(&settings.name).map(Arc::clone) else { continue };
            let (proof, keywords) = (settings.proof.clone(), settings.opt_out.keywords.clone());
            let (ids, defaults, seed) = (Arc::clone(ids), Arc::clone(&defaults), self.store.seed());
            let mine = settings.clone();
            let confirm: Confirm = Arc::new(move |chat, verdict, now| {
                intake::confirmation(&mine, &defaults, &ids, seed, (chat, verdict, now))
            });
            let lifts_manual = settings.opt_out.lifts_manual;
            inboxes.insert(settings.name.clone(), Inbox { gateway, proof, keywords, lifts_manual, confirm });
        }
        Ok(inboxes)
    }
}

impl Running {
    /// Stops at once.
    pub(super) fn abandon(self) {
        self.worker.abort();
        self.others.iter().for_each(JoinHandle::abort);
    }

    /// Stops in order: nothing more is claimed, typing is taken back, open sends may finish; then the rest.
    pub(super) async fn stop(mut self, stop: &CancellationToken, deadline: Millis) {
        stop.cancel();
        upkeep::notify(&[NotifyState::Stopping]);
        if !self.worker.is_finished() && clock::within(deadline, &mut self.worker).await.is_err() {
            tracing::warn!("open sends did not finish in time: they will be in doubt at the next start");
            self.worker.abort();
        }
        self.last.cancel();
        let aborts: Vec<_> = self.others.iter().map(JoinHandle::abort_handle).collect();
        if clock::within(PARTS_END, join_all(self.others)).await.is_err() {
            tracing::debug!("a part of the daemon did not end in time");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

/// The name of the zone of the file, or of the one applied last.
async fn file_zone(store: &SqliteStore, options: &DaemonOptions) -> Result<String, StoreError> {
    let name = match &options.settings {
        Some(settings) => Some(settings.zone.clone()),
        None => intake::stored_defaults(store).await?.map(|d| d.zone),
    };
    Ok(name.unwrap_or_else(clock::system_zone_name))
}
