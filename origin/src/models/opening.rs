//! A model whose name is known at once and whose parts are read later, so that what needs only the name need not wait.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::chat::ChatSettings;
use super::folder::{Model, ModelError};

/// A model that is being opened, or is. Clones share it.
#[derive(Clone, Debug)]
pub struct OpeningModel {
    id: String,
    model: Arc<OnceLock<Model>>,
}

impl OpeningModel {
    /// Reads the name of the model in `folder`, and nothing else.
    ///
    /// # Errors
    /// When the folder holds no model, or one that does not say its name.
    pub fn named_in(folder: &Path) -> Result<Self, ModelError> {
        Ok(Self { id: Model::id_in(folder)?, model: Arc::default() })
    }

    /// Opens it, which may take seconds with a large vocabulary, unless it is open.
    ///
    /// # Errors
    /// Names the file at fault and what is wrong with it.
    pub fn open(&self, folder: &Path, settings: &ChatSettings) -> Result<&Model, ModelError> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let model = Model::open_with(folder, settings)?;
        Ok(self.model.get_or_init(|| model))
    }

    /// The model's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The model, once it is open.
    #[must_use]
    pub fn get(&self) -> Option<&Model> {
        self.model.get()
    }
}

impl From<Model> for OpeningModel {
    fn from(model: Model) -> Self {
        Self { id: model.id().to_owned(), model: Arc::new(model.into()) }
    }
}
