//! Two processes cannot listen on one port: better said before anything is built.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, anyhow, bail};

use crate::cli::UpOptions;

pub(super) fn must_be_free(options: &UpOptions) -> Result<()> {
    if options.port_origin == options.port_edge {
        bail!("the edge and the origin cannot both listen on port {}", options.port_edge);
    }
    for (port, flag) in [(options.port_origin, "--port-origin"), (options.port_edge, "--port-edge")] {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
            anyhow!("cannot listen on 127.0.0.1:{port} ({error}): choose another port with {flag}")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port_edge = held.local_addr().unwrap().port();
        let error =
            must_be_free(&UpOptions { release: false, port_edge, port_origin: 0 }).unwrap_err().to_string();
        assert!(error.contains(&port_edge.to_string()) && error.contains("--port-edge"), "{error}");
    }
}
