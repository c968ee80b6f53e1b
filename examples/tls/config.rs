//! Both sides' settings, with a certificate made on the spot.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls::{ClientConnection, ServerConnection};

/// The name in the certificate.
const NAME: &str = "localhost";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes connections that trust each other.
pub struct Config {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Config {
    pub fn new(versions: &[&'static SupportedProtocolVersion]) -> Result<Config> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone())?;

        let provider = Arc::new(default_provider());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        Ok(Config {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    pub fn client(&self) -> Result<ClientConnection> {
        let name = ServerName::try_from(NAME)?;
        Ok(ClientConnection::new(self.client.clone(), name)?)
    }

    pub fn server(&self) -> Result<ServerConnection> {
        Ok(ServerConnection::new(self.server.clone())?)
    }
}
