//! Measures the captions of a served model over descriptions that training never saw.
//!
//! The same model gives the same report, but for its section on timing: the seeds are fixed, and every sample in it is
//! chosen by rule.

mod facts;
mod fixture;
mod hashtags;
mod judging;
mod markdown;
mod measure;
mod report;
mod service;
mod style;
mod variety;
mod verdicts;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cli::EvalOptions;
use crate::eval::fixture::Description;
use crate::eval::judging::{Answered, Instruments};
use crate::eval::report::Evaluation;
use crate::eval::service::Service;
use crate::progress;
use crate::workspace::Workspace;

/// Where the report lies in the repository.
const REPORT: &str = "docs/EVAL.md";
/// After so many requests without an answer the rest is not worth asking.
const UNANSWERED_MAX: usize = 10;
/// Descriptions between two lines of progress.
const PROGRESS_EVERY: usize = 50;

/// Asks for captions of every description, measures them and writes the report.
///
/// # Errors
/// When the service cannot be started or stops answering, or a file cannot be read or written. A missed target is
/// no error: the report says it.
pub(crate) fn eval(workspace: &Workspace, options: &EvalOptions) -> Result<()> {
    let mut descriptions = fixture::parse(&read(&workspace.root.join(fixture::PATH))?)?;
    descriptions.truncate(options.count.unwrap_or(usize::MAX));
    let instruments = prepared(workspace)?;
    let service = Service::start(workspace, options)?;
    let mut answered = Vec::new();
    progress::step("captions", || {
        answered = ask_all(&service, &descriptions, options)?;
        Ok(format!("for {} descriptions", answered.len()))
    })?;
    drop(service);
    let evaluation =
        Evaluation { level: options.level, measures: instruments.measures(&answered), answered: &answered };
    progress::line(&format!("\n{}", evaluation.table()));
    write(workspace, options, &evaluation)
}

fn prepared(workspace: &Workspace) -> Result<Instruments> {
    let mut prepared = None;
    progress::step("style classifier", || {
        let instruments = Instruments::prepare(&workspace.root)?;
        let accuracy = instruments.judge.held_out_accuracy * 100.0;
        prepared = Some(instruments);
        Ok(format!("{accuracy:.1} % right on held-out texts"))
    })?;
    prepared.context("the classifier was not trained")
}

fn ask_all<'fixture>(
    service: &Service,
    descriptions: &'fixture [Description],
    options: &EvalOptions,
) -> Result<Vec<Answered<'fixture>>> {
    let mut answered = Vec::with_capacity(descriptions.len());
    let mut unanswered = 0;
    for description in descriptions {
        let answer = service.ask(description, options.level);
        if let Err(error) = &answer {
            progress::line(&format!("line {}: {error:#}", description.line));
            unanswered += 1;
            if service.interrupted() || unanswered > UNANSWERED_MAX {
                bail!("stopped after {} descriptions", answered.len());
            }
        }
        answered.push(Answered { description, answer: answer.map_err(|error| format!("{error:#}")) });
        if answered.len() % PROGRESS_EVERY == 0 {
            progress::note(&format!("{} of {} descriptions", answered.len(), descriptions.len()));
        }
    }
    Ok(answered)
}

/// Only a run over every description may replace the committed report.
fn write(workspace: &Workspace, options: &EvalOptions, evaluation: &Evaluation) -> Result<()> {
    let committed = options.count.is_none().then(|| workspace.root.join(REPORT));
    if let Some(path) = options.report.clone().or(committed) {
        let present = if path.is_file() { read(&path)? } else { String::new() };
        write_file(workspace, &path, &evaluation.markdown(&present))?;
    }
    if let Some(path) = &options.json {
        write_file(workspace, path, &format!("{:#}\n", evaluation.json()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write_file(workspace: &Workspace, path: &PathBuf, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    progress::line(&format!("written: {}", workspace.shown(path)));
    Ok(())
}
