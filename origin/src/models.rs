//! Models: opening a folder (Hugging Face layout, with a `lede.json` or with a chat template) and checking that its parts
//! fit together; the store that folders are added to, and the hub they can be pulled from.

mod architecture;
mod chat;
mod chat_template;
mod chat_tokenizer;
pub(crate) mod date;
mod folder;
mod generation_settings;
mod graph_files;
mod hub;
mod hub_transfer;
mod local;
mod manifest;
mod nano;
mod opening;
mod store;
mod tokenizer;
mod weight_files;

pub use architecture::Architecture;
pub use chat::{CONTEXT_TOKENS_MAX_DEFAULT, ChatModel, ChatSettings};
pub use folder::{Dialect, MarkerDialect, Model, ModelError};
pub use generation_settings::SuggestedSampling;
pub use graph_files::{GraphFile, Precision, PrecisionChoice, UnknownPrecision};
pub use hub::{Hub, HubError, HubModel, Pulled};
pub use local::local_files;
pub use manifest::Manifest;
pub use nano::Markers;
pub use opening::OpeningModel;
pub use store::{
    Addition, FileRecord, ModelFacts, SourceFile, Store, StoreError, StoredModel, check_name, name_from,
};
pub use weight_files::{FilesWanted, WeightFiles, WeightsWanted};
