//! `lede-origin model …`: the store from the command line.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use super::{ModelAction, table, trial};
use crate::backend::wgpu;
use crate::config::Config;
use crate::models::{
    Addition, FilesWanted, Hub, HubModel, PrecisionChoice, Store, StoredModel, WeightFiles, local_files, name_from,
};

pub(super) fn run(action: ModelAction, config: &Config) -> Result<(), String> {
    let desk = Desk { store: Store::new(config.model.models_dir.clone(), config.model.model_bytes_max), config };
    match action {
        ModelAction::List => desk.list(),
        ModelAction::Add { path, name, precision } => desk.add(&path, name, precision),
        ModelAction::Pull { id, revision, name, precision } => {
            desk.pull(&HubModel::new(&id, &revision).map_err(text)?, name, precision)
        }
        ModelAction::Verify { name } => desk.verify(name),
        ModelAction::Remove { name, force } => desk.remove(&name, force),
    }
}

struct Desk<'a> {
    store: Store,
    config: &'a Config,
}

impl Desk<'_> {
    fn list(&self) -> Result<(), String> {
        let header = ["NAME", "ARCHITECTURE", "PARAMETERS", "WEIGHTS", "BYTES", "VERIFIED", "SOURCE"];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.store.list().map_err(text)?.iter().map(row));
        say(&table::aligned(&rows))
    }

    fn add(&self, path: &Path, name: Option<String>, precision: Option<PrecisionChoice>) -> Result<(), String> {
        let folder = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        let own = folder.file_name().map(|name| name_from(&name.to_string_lossy()));
        let name = name.or(own).unwrap_or_default();
        self.store.check_free(&name).map_err(text)?;
        let files = local_files(&folder, self.wanted(precision)).map_err(text)?;
        self.take_in(&Addition { name, source: "folder".to_owned(), files })
    }

    fn pull(
        &self,
        model: &HubModel,
        name: Option<String>,
        precision: Option<PrecisionChoice>,
    ) -> Result<(), String> {
        let name = name.unwrap_or_else(|| name_from(model.name()));
        self.store.check_free(&name).map_err(text)?;
        let check = |weights: &WeightFiles, bytes| {
            self.store.check_bytes(bytes).map_err(text)?;
            if weights.graph.is_ok() {
                return Ok(());
            }
            // Only wgpu could run it.
            wgpu::device::adapter(self.config.backend.wgpu_adapter.as_deref()).map(drop).map_err(text)
        };
        let hub = Hub::from_environment().map_err(text)?;
        let pulled = hub.pull(model, self.wanted(precision), check).map_err(text)?;
        let source = format!("{}@{}", model.id, pulled.commit);
        self.take_in(&Addition { name, source, files: pulled.files })
    }

    fn take_in(&self, addition: &Addition) -> Result<(), String> {
        let model = self.store.add(addition, |folder| trial::check(folder, self.config)).map_err(text)?;
        let (name, bytes) = (&model.name, model.bytes());
        say(&format!("added {name}: {}, {bytes} bytes; LEDE_MODEL={name} serves it\n", model.facts.architecture))
    }

    fn verify(&self, name: Option<String>) -> Result<(), String> {
        let names = match name {
            Some(name) => vec![name],
            None => self.store.list().map_err(text)?.into_iter().map(|model| model.name).collect(),
        };
        let mut faults = Vec::new();
        for name in names {
            match self.store.verify(&name) {
                Ok(model) => say(&format!("{name}: all {} files are as they were added\n", model.files.len()))?,
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    fn remove(&self, name: &str, force: bool) -> Result<(), String> {
        if self.config.model.model.as_deref() == Some(name) && !force {
            return Err(format!("LEDE_MODEL names {name}; --force removes it all the same"));
        }
        self.store.remove(name).map_err(text)?;
        say(&format!("removed {name}\n"))
    }

    /// What the engines that are configured read.
    fn wanted(&self, precision: Option<PrecisionChoice>) -> FilesWanted {
        let precision = precision.unwrap_or(self.config.model.model_precision);
        FilesWanted { precision, weights: self.config.backend.weights_wanted() }
    }
}

fn row(model: &StoredModel) -> [String; 7] {
    [
        model.name.clone(),
        model.facts.architecture.clone(),
        model.facts.parameters.map_or_else(|| "unknown".to_owned(), table::short),
        model.facts.graph.clone(),
        model.bytes().to_string(),
        model.verified_on().unwrap_or_else(|| "no".to_owned()),
        model.source.clone(),
    ]
}

fn text(error: impl Display) -> String {
    error.to_string()
}

fn say(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}
