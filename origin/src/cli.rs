//! The command line: `lede-origin [serve]`, `lede-origin model …` and `lede-origin keys …`.

mod keys;
mod model;
mod table;
mod trial;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use lede_shared::api_key::TenantId;
use lede_shared::plan::Scope;

use crate::config::Config;
use crate::models::PrecisionChoice;

/// Longest error that is shown.
const ERROR_CHARS_MAX: usize = 400;
/// A quarter of a year: a key that goes on for longer has not been replaced.
const OVERLAP_H_MAX: u64 = 90 * 24;

/// Answers captions over HTTP, and keeps the models that do it.
#[derive(Debug, Parser)]
#[command(name = "lede-origin", version, about)]
pub struct Arguments {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer requests until told to stop (settings: environment variables that begin with LEDE_).
    Serve,
    /// Look after the models in the store (LEDE_MODELS_DIR).
    Model {
        /// What to do with them.
        #[command(subcommand)]
        action: ModelAction,
    },
    /// Look after the API keys in the file of keys (LEDE_KEYS_FILE).
    Keys {
        /// What to do with them.
        #[command(subcommand)]
        action: KeysAction,
    },
}

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelAction {
    /// Show all models.
    List,
    /// Check a folder (Hugging Face layout with an ONNX export, or with safetensors for wgpu) and take a copy of it in.
    Add {
        /// The folder.
        path: PathBuf,
        /// Its name in the store; without it, the folder's.
        #[arg(long)]
        name: Option<String>,
        /// Which graph to take: auto, fp32, fp16, int8, q4, q4f16; without it, LEDE_MODEL_PRECISION.
        #[arg(long)]
        precision: Option<PrecisionChoice>,
    },
    /// Fetch a model from the hub (HF_ENDPOINT, HF_TOKEN, HF_HOME), check it and take it in.
    Pull {
        /// OWNER/NAME
        id: String,
        /// Branch, tag or commit.
        #[arg(long, default_value = "main")]
        revision: String,
        /// Its name in the store; without it, the part after the owner.
        #[arg(long)]
        name: Option<String>,
        /// Which graph to fetch: auto, fp32, fp16, int8, q4, q4f16; without it, LEDE_MODEL_PRECISION.
        #[arg(long)]
        precision: Option<PrecisionChoice>,
    },
    /// Hash the files of one model, or of all, and compare.
    Verify {
        /// Its name; without it, all.
        name: Option<String>,
    },
    /// Delete a model.
    Remove {
        /// Its name.
        name: String,
        /// Also the one that LEDE_MODEL names.
        #[arg(long)]
        force: bool,
    },
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make a key and show it, this once; the file keeps its hash.
    Create {
        /// Whose key it is: 1 to 64 characters of a-z 0-9 - _
        #[arg(long, value_parser = tenant)]
        tenant: TenantId,
        /// A plan of the file; without it, the plan named standard.
        #[arg(long)]
        plan: Option<String>,
        /// What it is let in for: captions, admin. May be given several times.
        #[arg(long = "scope", value_name = "SCOPE", default_value = "captions")]
        scopes: Vec<Scope>,
        /// For people.
        #[arg(long)]
        note: Option<String>,
    },
    /// Show all keys, by the first digits of their hashes.
    List,
    /// Stop a key; within a minute it opens no door anywhere.
    Revoke {
        /// The first digits of its hash, as `list` shows them.
        id: String,
    },
    /// Make a key on the terms of an old one, which goes on for a while.
    Rotate {
        /// The first digits of the old key's hash.
        id: String,
        /// Hours that the old key goes on.
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(0..=OVERLAP_H_MAX))]
        overlap_h: u64,
    },
}

impl KeysAction {
    /// Does it, with the settings of the environment.
    ///
    /// # Errors
    /// One line that says what is wrong; the file is then as it was.
    pub fn run(self) -> Result<(), String> {
        let config = Config::from_environment().map_err(|error| error.to_string())?;
        keys::run(self, &config).map_err(|reason| one_line(&reason))
    }
}

fn tenant(text: &str) -> Result<TenantId, &'static str> {
    TenantId::try_from(text.to_owned())
}

impl ModelAction {
    /// Does it, with the settings of the environment.
    ///
    /// # Errors
    /// One line that says what is wrong; the store is then as it was.
    pub fn run(self) -> Result<(), String> {
        let config = Config::from_environment().map_err(|error| error.to_string())?;
        model::run(self, &config).map_err(|reason| one_line(&reason))
    }
}

/// Libraries sometimes explain themselves at length; the first of it says what is wrong.
fn one_line(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(ERROR_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
