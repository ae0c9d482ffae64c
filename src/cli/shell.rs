//! `completions`, `man`, `schema`: what other programs read.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::exit::{Exit, told};
use crate::cli::out::Out;
use crate::cli::{Cli, schema};

/// Print completions for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot completions bash > ~/.local/share/bash-completion/completions/onthedot")]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: clap_complete::Shell,
}

/// Print the manual page, or write one page a command into a folder
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  onthedot man | man -l -
  onthedot man --to ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// The folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Print the JSON Schema of the jobs file, for editors
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  onthedot schema > jobs.schema.json
  # then, as the first line of jobs.yaml:
  # yaml-language-server: $schema=jobs.schema.json")]
pub(super) struct SchemaArgs {}

pub(super) fn completions(args: &CompletionsArgs, out: &Out) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "onthedot", &mut script);
    out.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

pub(super) fn man(args: &ManArgs, out: &Out) -> anyhow::Result<Exit> {
    let unwritable = |e: std::io::Error| told(Exit::Failed, format!("the manual pages cannot be written: {e}"));
    if let Some(folder) = &args.to {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
        clap_mangen::generate_to(Cli::command(), folder).map_err(unwritable)?;
        out.note(&format!("manual pages written to {}", folder.display()));
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(unwritable)?;
    out.data(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Ok)
}

pub(super) fn print_schema(_args: &SchemaArgs, out: &Out) -> anyhow::Result<Exit> {
    out.document(&schema::of_jobs_file())?;
    Ok(Exit::Ok)
}
