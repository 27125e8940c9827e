//! What is said of a panic: its place. Its message may quote a caller (that of a slice of a text quotes the text), and
//! `worker` installs a hook that writes it, after every event for the start of a module. So ours is installed by the
//! first event that brings a request.

use std::sync::Once;

/// Replaces whatever hook is there, once in an instance of the module.
pub(super) fn log_places_only() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            worker::console_error!(r#"{{"severity":"error","event":"panic","cause":"{place}"}}"#);
            #[cfg(panic = "abort")]
            give_the_instance_up();
        }));
    });
}

/// What `worker`'s own hook does besides: tells worker-build's shim to make a new instance for the next request.
#[cfg(panic = "abort")]
fn give_the_instance_up() {
    let state = js_sys::Reflect::get(&js_sys::global(), &"__worker_init_state".into());
    if let Ok(state) = state {
        // Without the flag the shim notices at the next trap, one request later.
        let _ = js_sys::Reflect::set(&state, &"criticalError".into(), &true.into());
    }
}
