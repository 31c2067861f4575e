//! How a platform is started: from flags, then the environment, then what was remembered, then defaults.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use coracle_docker::CacheLimit;
use coracle_model::name::Hostname;
use serde::{Deserialize, Serialize};

use crate::build_settings::{BuildArgs, BuildSettings};
use crate::data_dir::{DataDir, belongs_to_stranger};
use crate::engine::{KubernetesArgs, KubernetesSettings};
use crate::env_vars;
use crate::error::{CliError, Result};
use crate::store::{EtcdArgs, EtcdSettings};

/// Flags of `up` and `serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct PlatformArgs {
    #[command(flatten)]
    pub(crate) place: DataDirArg,
    /// Address of the API, the dashboard and the registry [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS", env = env_vars::LISTEN, hide_env_values = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of applications [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS", env = env_vars::HTTP, hide_env_values = true)]
    pub(crate) http: Option<SocketAddr>,
    /// A further address of the registry alone, for nodes of a cluster to pull from [default: none]
    #[arg(long, value_name = "ADDRESS", env = env_vars::REGISTRY_LISTEN, hide_env_values = true)]
    pub(crate) registry_listen: Option<SocketAddr>,
    /// Address of applications over TLS: comes in a later version
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) https: Option<SocketAddr>,
    /// Applications are served at APP.DOMAIN [default: localhost]
    #[arg(long, value_name = "DOMAIN", env = env_vars::DOMAIN, hide_env_values = true)]
    pub(crate) domain: Option<Hostname>,
    /// What runs the pods [default: docker]
    #[arg(long, value_enum, env = env_vars::ENGINE, hide_env_values = true)]
    pub(crate) engine: Option<EngineKind>,
    /// The most that Docker keeps to make builds faster: a size such as 5Gi, `off`, or `auto`, a tenth of the disk up to
    /// 10 GB [default: auto]
    #[arg(long, value_name = "SIZE", env = env_vars::BUILD_CACHE, hide_env_values = true)]
    pub(crate) build_cache: Option<CacheLimit>,
    /// Where API objects are kept [default: embedded]
    #[arg(long, value_enum, env = env_vars::STORE, hide_env_values = true)]
    pub(crate) store: Option<StoreKind>,
    #[command(flatten)]
    pub(crate) kubernetes: KubernetesArgs,
    #[command(flatten)]
    pub(crate) etcd: EtcdArgs,
    // Last: its heading holds for what follows.
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// Which data directory.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct DataDirArg {
    /// Where everything is kept [default: /var/lib/coracle for root, else ~/.local/share/coracle]
    #[arg(long, value_name = "FOLDER", env = env_vars::DATA_DIR, hide_env_values = true)]
    pub(crate) data_dir: Option<PathBuf>,
}

impl DataDirArg {
    pub(crate) fn resolve(&self) -> Result<DataDir> {
        DataDir::resolve(self.data_dir.as_deref())
    }
}

/// What runs the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    /// Docker Engine on this machine
    #[default]
    Docker,
    /// A Kubernetes cluster: that of KUBECONFIG, or the one that this process is a pod of
    Kubernetes,
}

/// Where API objects are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// A file in the data directory
    #[default]
    Embedded,
    /// An etcd cluster, which several control planes can use
    Etcd,
}

/// How a platform is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PlatformSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) registry_listen: Option<SocketAddr>,
    pub(crate) domain: Hostname,
    pub(crate) engine: EngineKind,
    #[serde(with = "build_cache")]
    pub(crate) build_cache: CacheLimit,
    pub(crate) store: StoreKind,
    pub(crate) kubernetes: KubernetesSettings,
    pub(crate) build: BuildSettings,
    pub(crate) etcd: EtcdSettings,
}

impl Default for PlatformSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            registry_listen: None,
            domain: localhost(),
            engine: EngineKind::default(),
            build_cache: CacheLimit::default(),
            store: StoreKind::default(),
            kubernetes: KubernetesSettings::default(),
            build: BuildSettings::default(),
            etcd: EtcdSettings::default(),
        }
    }
}

/// As it is written on the command line.
mod build_cache {
    use coracle_docker::CacheLimit;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        limit: &CacheLimit,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(limit)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<CacheLimit, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[expect(
    clippy::expect_used,
    reason = "the literal is a host name; a test parses it"
)]
fn localhost() -> Hostname {
    Hostname::new("localhost").expect("a host name")
}

impl PlatformSettings {
    /// What `args` say, and where they say nothing what `remembered` says.
    pub(crate) fn choose(args: &PlatformArgs, remembered: Option<Self>) -> Result<Self> {
        if args.https.is_some() {
            return Err(CliError::usage("--https: TLS comes in a later version")
                .hint("put a TLS terminator in front of --http until then"));
        }
        let before = remembered.unwrap_or_default();
        let store = args.store.unwrap_or(before.store);
        let chosen = Self {
            listen: args.listen.unwrap_or(before.listen),
            http: args.http.unwrap_or(before.http),
            registry_listen: args.registry_listen.or(before.registry_listen),
            domain: args.domain.clone().unwrap_or(before.domain),
            engine: args.engine.unwrap_or(before.engine),
            build_cache: args.build_cache.unwrap_or(before.build_cache),
            store,
            kubernetes: KubernetesSettings::choose(&args.kubernetes, before.kubernetes),
            build: BuildSettings::choose(&args.build, before.build)?,
            etcd: EtcdSettings::choose(&args.etcd, before.etcd, store)?,
        };
        let flags = [
            ("--listen", Some(chosen.listen)),
            ("--http", Some(chosen.http)),
            ("--registry-listen", chosen.registry_listen),
        ];
        for (flag, address) in flags {
            let Some(address) = address else { continue };
            if address.port() == 0 {
                return Err(CliError::usage(format!(
                    "{flag} {address}: use a port from 1 to 65535"
                )));
            }
        }
        if chosen.listen.port() == chosen.http.port()
            && overlap(chosen.listen.ip(), chosen.http.ip())
        {
            return Err(CliError::usage(format!(
                "--listen {} and --http {} are the same port: choose two",
                chosen.listen, chosen.http
            )));
        }
        Ok(chosen)
    }

    /// What was remembered in `path`.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            // A data directory that is none is told of when it is made.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => {
                let whose = path
                    .parent()
                    .and_then(|folder| belongs_to_stranger(folder, &error));
                let failed = CliError::caused(format!("{} cannot be read", path.display()), &error);
                return Err(match whose {
                    Some(whose) => failed.hint(whose),
                    None => failed,
                });
            }
        };
        toml::from_str(&text).map(Some).map_err(|error| {
            let reason = error.message().replace('\n', " ");
            CliError::new(format!("{} is damaged: {reason}", path.display()))
                .hint("mend it, or delete it and give the settings as flags again")
        })
    }

    /// Remembers them in `path`.
    pub(crate) fn write(&self, path: &Path) -> Result {
        let fail = |error: &dyn std::error::Error| {
            CliError::caused(format!("{} cannot be written", path.display()), error)
        };
        let text = toml::to_string(self).map_err(|error| fail(&error))?;
        let text = format!(
            "# How `coracle up` starts this platform. Written by it; its flags change it.\n{text}"
        );
        coracle_control::vault::write_private(path, text.as_bytes()).map_err(|error| fail(&error))
    }

    /// The address of the API as this machine reaches it.
    pub(crate) fn local_listen(&self) -> SocketAddr {
        local(self.listen)
    }

    /// The address of applications as this machine reaches it.
    pub(crate) fn local_http(&self) -> SocketAddr {
        local(self.http)
    }

    /// The base URL of the API as this machine reaches it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.local_listen())
    }
}

fn local(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))
    } else {
        address
    }
}

fn overlap(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> PlatformArgs {
        PlatformArgs::default()
    }

    #[test]
    fn flags_come_before_what_was_remembered() {
        let remembered = PlatformSettings {
            listen: "0.0.0.0:7171".parse().unwrap(),
            http: "127.0.0.1:81".parse().unwrap(),
            ..PlatformSettings::default()
        };
        let flags = PlatformArgs {
            http: Some("127.0.0.1:82".parse().unwrap()),
            ..args()
        };
        let chosen = PlatformSettings::choose(&flags, Some(remembered)).unwrap();
        assert_eq!(chosen.listen.to_string(), "0.0.0.0:7171");
        assert_eq!(chosen.http.to_string(), "127.0.0.1:82");
        assert_eq!(chosen.url(), "http://127.0.0.1:7171");
        assert_eq!(chosen.domain.as_str(), "localhost");
    }

    #[test]
    fn what_is_remembered_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        assert_eq!(PlatformSettings::read(&path).unwrap(), None);
        let settings = PlatformSettings::default();
        settings.write(&path).unwrap();
        assert_eq!(PlatformSettings::read(&path).unwrap(), Some(settings));
        std::fs::write(&path, "lisen = 3").unwrap();
        assert!(
            PlatformSettings::read(&path)
                .unwrap_err()
                .message
                .contains("is damaged")
        );
    }

    #[test]
    fn etcd_is_remembered_without_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.toml");
        let flags = PlatformArgs {
            store: Some(StoreKind::Etcd),
            etcd: EtcdArgs {
                etcd_endpoints: vec!["http://a:2379".to_owned(), "http://b:2379".to_owned()],
                etcd_user: Some("coracle".to_owned()),
                etcd_password_file: Some("/run/password".into()),
                ..EtcdArgs::default()
            },
            ..args()
        };
        let chosen = PlatformSettings::choose(&flags, None).unwrap();
        chosen.write(&path).unwrap();
        let remembered = PlatformSettings::read(&path).unwrap();
        assert_eq!(remembered.as_ref(), Some(&chosen));
        assert_eq!(
            PlatformSettings::choose(&args(), remembered).unwrap(),
            chosen
        );
        assert_eq!(chosen.etcd.prefix, "/coracle/");
    }

    #[test]
    fn what_is_not_there_yet_is_refused() {
        let refused = |args: PlatformArgs| {
            let error = PlatformSettings::choose(&args, None).unwrap_err();
            assert_eq!(error.status, 2);
            error.message
        };
        let https = Some("0.0.0.0:443".parse().unwrap());
        assert!(refused(PlatformArgs { https, ..args() }).contains("TLS comes in a later version"));
        let store = Some(StoreKind::Etcd);
        assert!(refused(PlatformArgs { store, ..args() }).contains("--store etcd"));
        let etcd = EtcdArgs {
            etcd_user: Some("coracle".to_owned()),
            ..EtcdArgs::default()
        };
        assert!(refused(PlatformArgs { etcd, ..args() }).contains("go with --store etcd"));
        let listen = Some("127.0.0.1:8080".parse().unwrap());
        assert!(refused(PlatformArgs { listen, ..args() }).contains("are the same port"));
    }
}
