//! How an etcd cluster is reached.

use std::fmt;

use crate::error::StoreError;

/// The longest key prefix.
const MAX_PREFIX_BYTES: usize = 256;

/// How an etcd cluster is reached.
#[derive(Clone, Debug)]
pub struct EtcdConfig {
    /// URLs of its members' client ports, such as `https://10.0.0.1:2379`; without a scheme `http` is meant, or
    /// `https` with `tls`.
    pub endpoints: Vec<String>,
    /// What stands before every key, so that others can use the same cluster. It ends with `/`.
    pub prefix: String,
    /// Certificates, for `https` endpoints.
    pub tls: Option<EtcdTls>,
    /// Who this is, when the cluster has authentication.
    pub user: Option<EtcdUser>,
}

impl Default for EtcdConfig {
    /// One member on this machine, prefix `/coracle/`.
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: Self::PREFIX.to_owned(),
            tls: None,
            user: None,
        }
    }
}

impl EtcdConfig {
    /// The prefix unless another is named.
    pub const PREFIX: &str = "/coracle/";

    /// Checks what can be checked without the network.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let invalid = |field, reason: String| Err(StoreError::InvalidConfig { field, reason });
        if self.endpoints.is_empty() {
            return invalid("etcd endpoints", "name one at least".to_owned());
        }
        for endpoint in &self.endpoints {
            let secure = endpoint.starts_with("https://");
            let plain = endpoint.starts_with("http://");
            if endpoint.is_empty() || (endpoint.contains("://") && !secure && !plain) {
                let reason =
                    format!("{endpoint:?} is none: use http://HOST:PORT or https://HOST:PORT");
                return invalid("etcd endpoints", reason);
            }
            if plain && self.tls.is_some() {
                let reason = format!(
                    "{endpoint} is not encrypted, but certificates are given: use https://"
                );
                return invalid("etcd endpoints", reason);
            }
        }
        let prefix = &self.prefix;
        if prefix.len() > MAX_PREFIX_BYTES
            || prefix.chars().any(char::is_control)
            || !prefix.ends_with('/')
        {
            let reason = format!(
                "{prefix:?} is no key prefix: it ends with /, has at most {MAX_PREFIX_BYTES} bytes and no control characters"
            );
            return invalid("etcd prefix", reason);
        }
        if self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.certificate.is_some() != tls.key.is_some())
        {
            return invalid(
                "etcd certificate",
                "a certificate needs its key, and a key its certificate: give both".to_owned(),
            );
        }
        Ok(())
    }
}

/// Certificates, in PEM.
#[derive(Clone, Default)]
pub struct EtcdTls {
    /// Who may have signed the members' certificates.
    pub ca: Option<Vec<u8>>,
    /// This client's certificate.
    pub certificate: Option<Vec<u8>>,
    /// And its private key.
    pub key: Option<Vec<u8>>,
}

impl fmt::Debug for EtcdTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls")
            .field("ca", &self.ca.is_some())
            .field("certificate", &self.certificate.is_some())
            .finish_non_exhaustive()
    }
}

/// A user of etcd.
#[derive(Clone)]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: EtcdConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_named() {
        EtcdConfig::default().check().unwrap();
        let endpoints = |endpoints: &[&str]| EtcdConfig {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            ..EtcdConfig::default()
        };
        assert_eq!(refused(endpoints(&[])), "etcd endpoints: name one at least");
        assert!(refused(endpoints(&["ftp://a:1"])).contains("use http://HOST:PORT"));
        let tls = EtcdConfig {
            tls: Some(EtcdTls::default()),
            ..EtcdConfig::default()
        };
        assert!(refused(tls).contains("use https://"));
        for prefix in ["", "/a", "/a\n/"] {
            let prefix = prefix.to_owned();
            let config = EtcdConfig {
                prefix,
                ..EtcdConfig::default()
            };
            assert!(refused(config).starts_with("etcd prefix: "));
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let user = EtcdUser {
            name: "coracle".to_owned(),
            password: "hunter2".to_owned(),
        };
        let tls = EtcdTls {
            key: Some(b"hunter2".to_vec()),
            ..EtcdTls::default()
        };
        assert!(!format!("{user:?} {tls:?}").contains("hunter2"));
    }
}
