//! A TLS server whose certificate nobody has signed but itself.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// For 127.0.0.1, made for this test and used nowhere else.
const CERTIFICATE: &str = "3082015030820102a0030201020214603b986aecb53a75692b23c9d5c52d96b51fd78f300506032b6570301431123010\
06035504030c096c6f63616c686f73743020170d3236313132313134303635365a180f32313236313032383134303635\
365a30143112301006035504030c096c6f63616c686f7374302a300506032b6570032100ccead64cba9fbb214e31cb78\
e67b2b16e5ea31350f293a3717000588e7cac5eca3643062301d0603551d0e04160414d2cb38607d39cef110537eaa52\
82dda62269b3a7301f0603551d23041830168014d2cb38607d39cef110537eaa5282dda62269b3a7300f0603551d1301\
01ff040530030101ff300f0603551d110408300687047f000001300506032b6570034100eda273aa9208dc8f174c5595\
90623602711ba9054cb060fc69fd8081c4674324f092f1985b6c866df7cce5192f480acd761fc95b406eae9053e49ef4\
f945fb0f";
const KEY: &str =
    "302e020100300506032b65700422042005fb474c4948e0e6f0589f5924ce1d7b55d69dbf7c1e565d92bd188090ebeda0";

/// Starts it on a free port; it shakes one hand.
pub(super) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(config).unwrap();
        // The other side hangs up in the middle: that is what the test is about.
        while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
    });
    address
}

fn config() -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from(bytes(CERTIFICATE))];
    let key = PrivateKeyDer::try_from(bytes(KEY)).unwrap();
    builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

fn bytes(hex_digits: &str) -> Vec<u8> {
    let pairs = hex_digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
