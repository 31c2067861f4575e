//! Where API objects are kept: which store, how it is reached, and what goes with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coracle_control::OperationError;
use coracle_control::vault::{Vault, create_private};
use coracle_model::env::Secret;
use coracle_store::{
    Embedded, EmbeddedConfig, Etcd, EtcdConfig, EtcdTls, EtcdUser, Store, StoreError,
};
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::env_vars;
use crate::error::{CliError, Result, chain};
use crate::settings::{PlatformSettings, StoreKind};

/// Flags for `--store etcd`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct EtcdArgs {
    /// Addresses of etcd, with `--store etcd`
    #[arg(long, value_name = "URL,…", value_delimiter = ',', env = env_vars::ETCD_ENDPOINTS, hide_env_values = true)]
    pub(crate) etcd_endpoints: Vec<String>,
    /// What every key in etcd begins with [default: /coracle/]
    #[arg(long, value_name = "PREFIX", env = env_vars::ETCD_PREFIX, hide_env_values = true)]
    pub(crate) etcd_prefix: Option<String>,
    /// File with the authority that signed etcd's certificates
    #[arg(long, value_name = "FILE", env = env_vars::ETCD_CA, hide_env_values = true)]
    pub(crate) etcd_ca: Option<PathBuf>,
    /// File with this platform's certificate for etcd
    #[arg(long, value_name = "FILE", env = env_vars::ETCD_CERT, hide_env_values = true)]
    pub(crate) etcd_cert: Option<PathBuf>,
    /// File with the certificate's private key
    #[arg(long, value_name = "FILE", env = env_vars::ETCD_KEY, hide_env_values = true)]
    pub(crate) etcd_key: Option<PathBuf>,
    /// This platform's user in etcd
    #[arg(long, value_name = "USER", env = env_vars::ETCD_USER, hide_env_values = true)]
    pub(crate) etcd_user: Option<String>,
    /// File with the user's password; CORACLE_ETCD_PASSWORD has the password itself
    #[arg(long, value_name = "FILE", env = env_vars::ETCD_PASSWORD_FILE, hide_env_values = true)]
    pub(crate) etcd_password_file: Option<PathBuf>,
    /// With `--store etcd`: so long after a leading control plane died another leads, at least 3 [default: 10]
    #[arg(long, value_name = "SECONDS", env = env_vars::LEADER_LEASE, hide_env_values = true, value_parser = clap::value_parser!(u64).range(3..=300))]
    pub(crate) leader_lease: Option<u64>,
    /// Who cuts etcd's history: `auto` leaves it alone while others keep keys in the same etcd [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", env = env_vars::ETCD_COMPACTION, hide_env_values = true)]
    pub(crate) etcd_compaction: Option<Compaction>,
    /// Volume that all control planes of one etcd have: images, uploads, build logs, keys [default: the data directory]
    #[arg(long, value_name = "FOLDER", env = env_vars::SHARED_DIR, hide_env_values = true)]
    pub(crate) shared_dir: Option<PathBuf>,
}

/// Whether the history of etcd is cut, which is one for all who use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compaction {
    /// By this platform, as long as nobody else keeps keys in the same etcd
    #[default]
    Auto,
    /// By this platform
    On,
    /// By etcd itself (--auto-compaction-retention), or by whoever looks after it
    Off,
}

/// How etcd is reached, as it is remembered. The password itself is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EtcdSettings {
    pub(crate) endpoints: Vec<String>,
    pub(crate) prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) lease_seconds: u64,
    pub(crate) compaction: Compaction,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shared_dir: Option<PathBuf>,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            prefix: EtcdConfig::PREFIX.to_owned(),
            ca: None,
            cert: None,
            key: None,
            user: None,
            password_file: None,
            lease_seconds: 10,
            compaction: Compaction::default(),
            shared_dir: None,
        }
    }
}

impl EtcdSettings {
    /// What `args` say, and where they say nothing what was before.
    pub(crate) fn choose(args: &EtcdArgs, before: Self, kind: StoreKind) -> Result<Self> {
        // Another working directory must not mean other files.
        let path = |flag: &Option<PathBuf>, before: Option<PathBuf>| match flag {
            Some(path) => std::path::absolute(path).map(Some),
            None => Ok(before),
        };
        let unusable = |error| CliError::caused("a path cannot be used", &error);
        let chosen = Self {
            endpoints: if args.etcd_endpoints.is_empty() {
                before.endpoints
            } else {
                args.etcd_endpoints.clone()
            },
            prefix: args.etcd_prefix.clone().unwrap_or(before.prefix),
            ca: path(&args.etcd_ca, before.ca).map_err(unusable)?,
            cert: path(&args.etcd_cert, before.cert).map_err(unusable)?,
            key: path(&args.etcd_key, before.key).map_err(unusable)?,
            user: args.etcd_user.clone().or(before.user),
            password_file: path(&args.etcd_password_file, before.password_file)
                .map_err(unusable)?,
            lease_seconds: args.leader_lease.unwrap_or(before.lease_seconds),
            compaction: args.etcd_compaction.unwrap_or(before.compaction),
            shared_dir: path(&args.shared_dir, before.shared_dir).map_err(unusable)?,
        };
        match kind {
            StoreKind::Etcd if chosen.endpoints.is_empty() => Err(CliError::usage(
                "--store etcd: where etcd is was not said",
            )
            .hint("name its members with --etcd-endpoints http://HOST:2379")),
            StoreKind::Embedded if chosen != Self::default() => Err(CliError::usage(
                "--etcd-endpoints, the other --etcd flags, --leader-lease and --shared-dir go with --store etcd",
            )
            .hint("add --store etcd, or leave them out")),
            StoreKind::Embedded | StoreKind::Etcd => Ok(chosen),
        }
    }

    /// How long another control plane waits for a dead leader.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds.max(3))
    }

    fn config(&self) -> Result<EtcdConfig> {
        let read = |flag: &str, path: &Path| {
            std::fs::read(path).map_err(|error| {
                CliError::caused(format!("{flag} {} cannot be read", path.display()), &error)
            })
        };
        let file = |flag: &str, path: &Option<PathBuf>| {
            path.as_deref().map(|path| read(flag, path)).transpose()
        };
        let tls = EtcdTls {
            ca: file("--etcd-ca", &self.ca)?,
            certificate: file("--etcd-cert", &self.cert)?,
            key: file("--etcd-key", &self.key)?,
        };
        let user = match &self.user {
            None => None,
            Some(name) => Some(EtcdUser {
                name: name.clone(),
                password: self.password()?,
            }),
        };
        let given = tls.ca.is_some() || tls.certificate.is_some() || tls.key.is_some();
        Ok(EtcdConfig {
            endpoints: self.endpoints.clone(),
            prefix: self.prefix.clone(),
            tls: given.then_some(tls),
            user,
        })
    }

    fn password(&self) -> Result<String> {
        if let Some(password) = env_vars::read(env_vars::ETCD_PASSWORD) {
            return Ok(password);
        }
        let Some(path) = &self.password_file else {
            return Err(CliError::usage("--etcd-user: there is no password for it")
                .hint("name its file with --etcd-password-file, or set CORACLE_ETCD_PASSWORD"));
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("--etcd-password-file {} cannot be read", path.display());
            CliError::caused(what, &error)
        })?;
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// Why something cannot be opened that needs the store.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// The store does not answer, has no leader or no room.
    Away(CliError),
    /// The store refuses: the password, the user's role.
    Refused(CliError),
    /// Something that waiting does not mend.
    Lasting(CliError),
}

impl NotOpen {
    /// `what` is not possible, because the store failed.
    pub(crate) fn of_store(what: &str, error: &StoreError) -> Self {
        let told = CliError::caused(what, error).hint("`coracle doctor` checks the store");
        match error {
            StoreError::Unavailable { .. }
            | StoreError::OutOfSpace { .. }
            | StoreError::Io { .. } => Self::Away(told),
            StoreError::Refused { .. } => Self::Refused(told),
            _ => Self::Lasting(told),
        }
    }

    /// The same of an operation.
    pub(crate) fn of_operation(what: &str, error: &OperationError) -> Self {
        match error {
            OperationError::Store(error) => Self::of_store(what, error),
            error => Self::Lasting(CliError::caused(what, error)),
        }
    }

    /// What went wrong.
    pub(crate) fn error(self) -> CliError {
        match self {
            Self::Away(error) | Self::Refused(error) | Self::Lasting(error) => error,
        }
    }
}

impl From<CliError> for NotOpen {
    fn from(error: CliError) -> Self {
        Self::Lasting(error)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` is given"
)]
fn cannot_open(error: StoreError) -> NotOpen {
    NotOpen::of_store("the store cannot be opened", &error)
}

/// The store of this platform.
#[derive(Clone, Debug)]
pub(crate) enum PlatformStore {
    Embedded(Arc<Embedded>),
    Etcd(Etcd),
}

impl PlatformStore {
    /// Opens the store that the settings name; files that they name are read anew.
    pub(crate) async fn open(data: &DataDir, settings: &PlatformSettings) -> Result<Self, NotOpen> {
        match settings.store {
            StoreKind::Embedded => {
                let folder = data.path().join("store");
                let open = move || Embedded::open(&folder, EmbeddedConfig::default());
                let opened = tokio::task::spawn_blocking(open)
                    .await
                    .map_err(|error| CliError::caused("the store cannot be opened", &error))?;
                Ok(Self::Embedded(Arc::new(opened.map_err(cannot_open)?)))
            }
            StoreKind::Etcd => {
                let config = settings.etcd.config()?;
                let store = Etcd::connect(config).await.map_err(cannot_open)?;
                match store.writable().await {
                    // Still read, and room is made by deleting.
                    Ok(()) | Err(StoreError::OutOfSpace { .. }) => Ok(Self::Etcd(store)),
                    Err(error) => Err(cannot_open(error)),
                }
            }
        }
    }

    pub(crate) fn as_store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::clone(store) as Arc<dyn Store>,
            Self::Etcd(store) => Arc::new(store.clone()),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Embedded(store) => {
                if let Err(error) = store.close().await {
                    tracing::warn!(error = chain(&error), "the store was not closed");
                }
            }
            Self::Etcd(store) => store.close(),
        }
    }
}

/// The folder of what all control planes of this platform need.
pub(crate) fn shared_dir(data: &DataDir, settings: &PlatformSettings) -> PathBuf {
    let shared = settings.etcd.shared_dir.clone();
    shared.unwrap_or_else(|| data.path().to_owned())
}

/// The key that secrets are sealed with: given by the environment, or a file that is made at the first start.
pub(crate) fn open_vault(data: &DataDir, settings: &PlatformSettings) -> Result<Vault> {
    let opened = match env_vars::read(env_vars::SECRET_KEY) {
        Some(key) => Vault::with_key(&Secret::new(key)),
        None => Vault::open(&shared_dir(data, settings).join("keys/secret.key")),
    };
    opened.map_err(|error| CliError::new(chain(&error)))
}

/// The file with what gateways present.
pub(crate) fn gateway_token_file(data: &DataDir, settings: &PlatformSettings) -> PathBuf {
    match &settings.etcd.shared_dir {
        Some(shared) => shared.join("keys/gateway.token"),
        None => data.gateway_token(),
    }
}

/// What gateways present: given by the environment, or a file that is made at the first start.
pub(crate) fn gateway_token(data: &DataDir, settings: &PlatformSettings) -> Result<Secret> {
    if let Some(token) = env_vars::read(env_vars::GATEWAY_TOKEN) {
        return Ok(Secret::new(token));
    }
    if settings.etcd.shared_dir.is_none() {
        return data.read_gateway_token();
    }
    let path = gateway_token_file(data, settings);
    let fail = |error: std::io::Error| {
        CliError::caused(format!("{} cannot be used", path.display()), &error)
    };
    if !path.exists() {
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random)
            .map_err(|error| CliError::caused("a token cannot be made", &error))?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        match create_private(&path, text.as_bytes()) {
            // Another control plane came first.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(fail)?,
        }
    }
    let text = std::fs::read_to_string(&path).map_err(fail)?;
    Ok(Secret::new(text.trim()))
}
