//! The developer's commands: set up, build, run, test and check Lede.
//!
//! Every command first brings up what it needs (see [`setup`]), so each works from a fresh clone.

mod bench;
mod build;
mod check;
mod cli;
mod command;
mod docs;
mod eval;
mod fuzz;
mod progress;
mod setup;
mod test;
mod up;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::bench::EngineBench;
use crate::build::{edge, origin};
use crate::cli::{BenchTarget, BuildTarget, Cli, Command};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let workspace = Workspace::find()?;
    match cli.command {
        Command::Setup => setup::everything(&workspace),
        Command::Build { target: BuildTarget::Edge { always, environment } } => {
            edge::build(&workspace, always, environment.as_deref()).map(drop)
        }
        Command::Build { target: BuildTarget::Origin { release } } => origin::build(&workspace, release).map(drop),
        Command::Up(options) => up::up(&workspace, &options),
        Command::Test { nextest_args } => test::test(&workspace, &nextest_args),
        Command::Check => check::check(&workspace),
        Command::Docs => docs::write(&workspace),
        Command::Bench { target: BenchTarget::Edge { dry } } => bench::edge(&workspace, dry),
        Command::Bench { target: BenchTarget::Cache { only, dry } } => {
            bench::cache(&workspace, only.as_deref(), dry)
        }
        Command::Bench { target: BenchTarget::Engine { only, short, dry } } => {
            let wanted = EngineBench { only: only.as_deref(), is_short: short, dry: dry || short };
            bench::engine(&workspace, wanted)
        }
        Command::Fuzz { target, seconds } => fuzz::fuzz(&workspace, target.as_deref(), seconds),
        Command::Eval(options) => eval::eval(&workspace, &options),
    }
}
