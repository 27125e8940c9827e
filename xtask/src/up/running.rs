//! The programs that run side by side: waiting for them, noticing when one ends, stopping all of them.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::progress;
use crate::up::child::Child;
use crate::up::signals::Signals;

const POLL: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a wait ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    Signalled,
}

/// Every program started so far. Dropping stops the last one first: the edge stops asking before the origin drains.
#[derive(Debug, Default)]
pub(crate) struct Running {
    children: Vec<Child>,
}

impl Running {
    pub(crate) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        progress::note(&format!("starting the {name}"));
        self.children.push(Child::start(name, command)?);
        Ok(())
    }

    /// Until a GET of `url` answers 200.
    ///
    /// # Errors
    /// When that takes longer than `timeout`, or a program ends meanwhile.
    pub(crate) fn wait_until_ready(&mut self, url: &str, timeout: Duration, signals: &Signals) -> Result<Waited> {
        let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PROBE_TIMEOUT)).build().into();
        let deadline = Instant::now() + timeout;
        loop {
            if signals.arrived() {
                return Ok(Waited::Signalled);
            }
            self.none_may_have_ended()?;
            if agent.get(url).call().is_ok_and(|answer| answer.status() == 200) {
                return Ok(Waited::Ready);
            }
            if Instant::now() > deadline {
                bail!("{url} has not answered 200 within {}", progress::seconds(timeout));
            }
            thread::sleep(POLL);
        }
    }

    /// # Errors
    /// When a program ends by itself.
    pub(crate) fn wait_until_signalled(&mut self, signals: &Signals) -> Result<()> {
        while !signals.arrived() {
            self.none_may_have_ended()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn none_may_have_ended(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.ended()? {
                bail!("the {} ended by itself ({status}); see its last lines above", child.name);
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            progress::note(&format!("stopping the {}", child.name));
            child.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);

    /// An address that nothing listens on any more.
    fn nowhere() -> String {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        format!("http://{address}/health")
    }

    #[test]
    fn a_side_that_dies_while_it_is_awaited_is_an_error() {
        let mut running = Running::default();
        running.start("origin", Command::new("sh").args(["-c", "exit 7"])).unwrap();
        let error =
            running.wait_until_ready(&nowhere(), Duration::from_secs(60), &Signals::default()).unwrap_err();
        assert!(error.to_string().contains("the origin ended by itself"), "{error}");
    }

    #[test]
    fn waiting_has_a_limit() {
        let error = Running::default().wait_until_ready(&nowhere(), SOON, &Signals::default()).unwrap_err();
        assert!(error.to_string().contains("has not answered 200 within 0.3 s"), "{error}");
    }
}
