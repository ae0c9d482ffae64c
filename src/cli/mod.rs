//! The command line: one command one file.

mod bench;
mod campaign;
mod campaign_eta;
mod campaign_export;
mod campaign_preview;
mod campaign_recall;
mod campaign_watch;
mod check;
mod chores;
mod contact;
mod contact_erase;
mod contact_export;
mod contact_import;
mod contact_leave;
mod content_args;
mod db;
mod doctor;
mod doubt;
mod event;
mod exit;
mod explain;
mod filter;
mod import;
mod instance;
mod job;
mod list;
mod live;
mod log;
mod next;
mod out;
mod outlook;
mod pause;
mod place;
mod plan;
mod progress;
mod repair;
mod replan;
mod run;
mod sandbox;
mod schema;
mod send;
mod shell;
mod show;
mod simulate;
mod stats;
mod timeline;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use exit::Exit;
use out::Out;

/// The three dots of typing first, then the message, on the dot.
#[derive(Parser, Debug)]
#[command(name = "onthedot", version, about, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  onthedot run jobs.example.yaml --sandbox --until-idle   try it: nothing leaves this machine
  onthedot check jobs.yaml                                what a file means, and what is wrong with it
  onthedot run jobs.yaml                                  the daemon
  onthedot send --to \"+49 170 1234567\" --text \"Hi\" --in 10m
  onthedot list --state scheduled,in_doubt")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug, Clone)]
struct Global {
    /// The database file [default: $ONTHEDOT_DB, then onthedot.db in $STATE_DIRECTORY or the state folder of the user]
    #[arg(long, global = true, value_name = "PATH")]
    db: Option<String>,
    /// The jobs file, for commands that need one
    #[arg(long, global = true, value_name = "JOBS.yaml", env = "ONTHEDOT_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Colour the output
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorWhen,
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ColorWhen {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Send(Box<send::SendArgs>),
    Import(Box<import::ImportArgs>),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Explain(explain::ExplainArgs),
    Cancel(repair::CancelArgs),
    Retry(repair::RetryArgs),
    Reschedule(repair::RescheduleArgs),
    Snooze(repair::SnoozeArgs),
    Hold(repair::HoldArgs),
    Release(repair::ReleaseArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Stats(stats::StatsArgs),
    /// Messages that may or may not have gone out
    #[command(subcommand)]
    Doubt(doubt::DoubtCommand),
    Next(next::NextArgs),
    Plan(plan::PlanArgs),
    Simulate(simulate::SimulateArgs),
    Timeline(timeline::TimelineArgs),
    /// The jobs of the database
    #[command(subcommand)]
    Job(job::JobCommand),
    /// The accounts: how they stand, a round trip, pausing one
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    /// Campaigns: how each stands, who got it, and stopping one
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Recipients: who is not to be written to
    #[command(subcommand)]
    Contact(contact::ContactCommand),
    Sandbox(sandbox::SandboxArgs),
    Bench(bench::BenchArgs),
    /// The database file: backup, check, chores, migrate, prune
    #[command(subcommand)]
    Db(db::DbCommand),
    Doctor(doctor::DoctorArgs),
    Schema(shell::SchemaArgs),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

/// Reads the command line, runs the command, and turns its end into an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage.code() } else { Exit::Ok.code() };
        }
    };
    let long_running = matches!(cli.command, Command::Run(_) | Command::Sandbox(_));
    let live = matches!(cli.command, Command::Run(_)) && live::fits(&cli.global);
    log::start(&cli.global, long_running, live);
    let out = Out::new(cli.global.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            out.error(&anyhow::anyhow!("the program cannot start its threads: {e}"));
            return Exit::Failed.code();
        }
    };
    let ended = runtime.block_on(dispatch(cli, &out));
    // Sends given up at the deadline must not hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.code(),
        Err(e) => {
            let exit = exit::of(&e);
            if exit != Exit::BrokenPipe {
                out.error(&e);
            }
            exit.code()
        }
    }
}

async fn dispatch(cli: Cli, out: &Out) -> anyhow::Result<Exit> {
    let global = cli.global;
    match cli.command {
        Command::Run(args) => run::run(&global, args, out).await,
        Command::Check(args) => check::check(&global, &args, out),
        Command::Send(args) => send::send(&global, *args, out).await,
        Command::Import(args) => import::import(&global, *args, out).await,
        Command::List(args) => list::list(&global, args, out).await,
        Command::Show(args) => show::show(&global, &args, out).await,
        Command::Explain(args) => explain::explain(&global, &args, out).await,
        Command::Cancel(args) => repair::cancel(&global, args, out).await,
        Command::Retry(args) => repair::retry(&global, args, out).await,
        Command::Reschedule(args) => repair::reschedule(&global, args, out).await,
        Command::Snooze(args) => repair::snooze(&global, args, out).await,
        Command::Hold(args) => repair::hold(&global, args, out).await,
        Command::Release(args) => repair::release(&global, args, out).await,
        Command::Pause(args) => pause::pause(&global, args, out).await,
        Command::Resume(args) => pause::resume(&global, args, out).await,
        Command::Stats(args) => stats::stats(&global, &args, out).await,
        Command::Doubt(command) => doubt::doubt(&global, command, out).await,
        Command::Plan(args) => plan::plan(&global, &args, out).await,
        Command::Simulate(args) => simulate::simulate(&global, &args, out).await,
        Command::Timeline(args) => timeline::timeline(&global, &args, out).await,
        Command::Job(command) => job::job(&global, command, out).await,
        Command::Campaign(command) => campaign::campaign(&global, command, out).await,
        Command::Contact(command) => contact::contact(&global, command, out).await,
        Command::Bench(args) => bench::bench(&args, out).await,
        Command::Instance(command) => instance::instance(&global, command, out).await,
        Command::Next(args) => next::next(&global, &args, out).await,
        Command::Sandbox(args) => sandbox::sandbox(&global, args, out).await,
        Command::Db(command) => db::db(&global, command, out).await,
        Command::Doctor(args) => doctor::doctor(&global, &args, out).await,
        Command::Schema(args) => shell::print_schema(&args, out),
        Command::Completions(args) => shell::completions(&args, out),
        Command::Man(args) => shell::man(&args, out),
    }
}
