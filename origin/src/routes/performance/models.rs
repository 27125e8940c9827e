//! Having models loaded and unloaded.

use axum::Extension;
use axum::extract::State;
use lede_shared::problem::{FieldErrorCode, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::fields::{fault, object, only, word};
use super::{Unkept, log, unkept};
use crate::app::{App, AppState};
use crate::error::ApiError;
use crate::extract::AuthorizedBody;
use crate::middleware::RequestContext;
use crate::model_registry::{ModelReport, Refusal};
use crate::models::residency::Stays;

/// An action and which model it is about.
const BODY_BYTES_MAX: usize = 1_024;
const ACTIONS: &str = "must be load, unload, pin or unpin";

/// What can be done with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Load,
    Unload,
    Pin,
    Unpin,
}

/// What came of an action. Loading and unloading take their time: `/performance/ai` says how far they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelsManaged {
    /// The action.
    pub action: &'static str,
    /// The model, as it stands now.
    pub model: ModelReport,
}

/// `POST /performance/models/manage`: loads, unloads, pins or unpins one model.
pub async fn manage(
    State(app): State<AppState>,
    Extension(context): Extension<RequestContext>,
    authorized: AuthorizedBody<BODY_BYTES_MAX>,
) -> Result<Unkept<ModelsManaged>, ApiError> {
    app.admin_door.pass(&authorized.principal)?;
    let (action, model) = read(&authorized.body)?;
    log(&authorized.principal, &context, action.log_name());
    let report = done(&app, action, &model)?;
    Ok(unkept(ModelsManaged { action: action.name(), model: report }))
}

fn done(app: &App, action: Action, model: &str) -> Result<ModelReport, Problem> {
    let name = app.registry.name_of(model).ok_or_else(|| refused(&Refusal::Unknown))?;
    let outcome = match action {
        Action::Load => app.registry.load(name),
        Action::Unload => app.registry.unload(name),
        Action::Pin => app.registry.pin(name, true),
        Action::Unpin => app.registry.pin(name, false),
    };
    outcome.map_err(|refusal| refused(&refusal))?;
    let mut models = app.registry.report().models.into_iter();
    models.find(|report| report.name == name).ok_or_else(|| refused(&Refusal::Unknown))
}

fn refused(refusal: &Refusal) -> Problem {
    let code = match refusal {
        Refusal::Unknown | Refusal::Stays(Stays::Unknown) => FieldErrorCode::UnknownValue,
        Refusal::Primary | Refusal::Stays(_) | Refusal::NoRoom(_) | Refusal::Leaving | Refusal::TooEarly => {
            FieldErrorCode::Conflict
        }
    };
    fault("/model", code, &refusal.to_string())
}

/// Reads `{"action": "load", "model": "large"}`.
fn read(body: &[u8]) -> Result<(Action, String), Problem> {
    let fields: Map<String, Value> = object(body)?;
    let action = match word(&fields, "action", ACTIONS)? {
        "load" => Action::Load,
        "unload" => Action::Unload,
        "pin" => Action::Pin,
        "unpin" => Action::Unpin,
        _ => return Err(fault("/action", FieldErrorCode::UnknownValue, ACTIONS)),
    };
    only(&fields, &["action", "model"])?;
    Ok((action, word(&fields, "model", "must be a model's name")?.to_owned()))
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Unload => "unload",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
        }
    }

    const fn log_name(self) -> &'static str {
        match self {
            Self::Load => "models load",
            Self::Unload => "models unload",
            Self::Pin => "models pin",
            Self::Unpin => "models unpin",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_and_a_model_are_read_and_what_cannot_be_done_is_pointed_at() {
        for (word, action) in
            [("load", Action::Load), ("unload", Action::Unload), ("pin", Action::Pin), ("unpin", Action::Unpin)]
        {
            let body = format!(r#"{{"action": "{word}", "model": "large"}}"#);
            assert_eq!(read(body.as_bytes()), Ok((action, "large".to_owned())));
            assert_eq!(action.name(), word);
        }
        for (body, pointer, code) in [
            ("[]", "", FieldErrorCode::WrongType),
            ("{}", "/action", FieldErrorCode::Missing),
            (r#"{"action": "move", "model": "large"}"#, "/action", FieldErrorCode::UnknownValue),
            (r#"{"action": "load"}"#, "/model", FieldErrorCode::Missing),
            (r#"{"action": "load", "model": 7}"#, "/model", FieldErrorCode::WrongType),
            (r#"{"action": "load", "model": "large", "force": true}"#, "/force", FieldErrorCode::UnknownField),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!((problem.errors[0].pointer.as_str(), problem.errors[0].code), (pointer, code), "{body}");
        }
    }
}
