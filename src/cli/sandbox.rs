//! `sandbox`: the sandbox gateway by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::cli::Global;
use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::sandbox::{scenario, scenario_file};

/// Run a gateway that speaks Wawp's contract on this machine and delivers nothing
#[derive(clap::Args, Debug)]
#[command(after_help = include_str!("sandbox_help.txt"))]
pub(super) struct SandboxArgs {
    /// Where it listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Where acks are posted; {instance_id} in it is filled in
    #[arg(long, value_name = "URL")]
    hook: Option<String>,
    /// The environment variable that holds the key webhooks are signed with
    #[arg(long, value_name = "VARIABLE", requires = "hook")]
    hook_secret_env: Option<String>,
    /// Faults to play
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Where every request is noted, one JSON line each
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

pub(super) async fn sandbox(_global: &Global, args: SandboxArgs, out: &Out) -> anyhow::Result<Exit> {
    if !args.listen.ip().is_loopback() {
        return Err(told(
            Exit::Refused,
            "the sandbox takes any token, so it only listens on this machine: 127.0.0.1:PORT",
        ));
    }
    let scenario = match &args.scenario {
        Some(path) => scenario_file::load(path)?,
        None => scenario::Scenario::default(),
    };
    let hook_secret = match &args.hook_secret_env {
        Some(name) => {
            let value = std::env::var(name)
                .map_err(|_| told(Exit::Config, format!("the environment variable {name} is not set")))?;
            Some(SecretString::from(value))
        }
        None => None,
    };
    crate::cli::run::raise_file_limit();
    let stop = CancellationToken::new();
    let options = SandboxOptions { listen: args.listen, hook: args.hook, hook_secret, scenario, journal: args.journal };
    let sandbox = Sandbox::start(options, stop).await?;
    if out.json {
        out.document(&serde_json::json!({ "url": sandbox.url() }))?;
    } else {
        out.data(&format!("sandbox gateway at {}; Ctrl-C ends it", sandbox.url()))?;
    }
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    sandbox.stop();
    Ok(Exit::Ok)
}
