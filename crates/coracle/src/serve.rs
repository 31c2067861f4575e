//! The control plane in the foreground: where its parts are made and given to each other.
//!
//! Theory of operation: the lock on the data directory comes first, so that nothing is opened twice; then the
//! listener, so that a port that is taken is told at once and clients that come early wait in its queue; then
//! everything else, in the order in which it is needed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_api::{ApiState, Authentication, PlatformCredential, RegistryAccess};
use coracle_control::Control;
use coracle_control::controllers::runner::ControllerStatus;
use coracle_control::controllers::{Controllers, Options};
use coracle_control::settings::{Limits, Settings, platform_id};
use coracle_control::vault::Vault;
use coracle_docker::{DockerConfig, DockerEngine};
use coracle_engine::build::RegistryCredentials;
use coracle_model::env::Secret;
use coracle_registry::Registry;
use coracle_store::{Embedded, EmbeddedConfig, Store};
use coracle_task::{Drain, Supervisor};
use tokio::net::TcpListener;

use crate::data_dir::{DataDir, Part};
use crate::error::{CliError, Result, chain};
use crate::settings::{PlatformArgs, PlatformSettings};
use crate::{env_vars, operator, runtime};

/// Threads that run the control plane: most of its time it waits.
const WORKERS: usize = 2;
/// How long the parts have to end after the API did.
const DRAIN: Duration = Duration::from_secs(10);

/// Run the control plane in the foreground, for service managers
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Serves until the process is asked to end.
pub(crate) fn run(args: &ServeArgs) -> Result {
    let started = Instant::now();
    runtime::log()?;
    let data = args.platform.place.resolve()?;
    let remembered = PlatformSettings::read(&data.settings())?;
    let settings = PlatformSettings::choose(&args.platform, remembered)?;
    let runtime = runtime::new(WORKERS)?;
    let ended = runtime.block_on(serve(&data, &settings, started));
    // A thread that is stuck in a file operation must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn serve(data: &DataDir, settings: &PlatformSettings, started: Instant) -> Result {
    let end = runtime::asked_to_end()?;
    data.prepare()?;
    if let Some(mode) = data.open_mode() {
        let mode = format!("{mode:o}");
        tracing::warn!(
            mode,
            "others than its owner may look into the data directory: chmod 700 it"
        );
    }
    let _lock = data.claim(Part::Serve).await?;
    let listener = bind(settings.listen).await?;
    let platform = Platform::open(data, settings).await?;
    let (supervisor, store) = (platform.supervisor, platform.store);
    tracing::info!(
        address = %settings.listen,
        millis = started.elapsed().as_millis(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    let stop = supervisor.token();
    let stopper = stop.clone();
    let serving = coracle_api::serve(listener, platform.api);
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = end => {
            tracing::info!("asked to end");
            stopper.cancel();
            serving.await
        }
    };
    if let Drain::Aborted(left) = supervisor.shutdown(DRAIN).await {
        tracing::warn!(left, "tasks were cut at the drain deadline");
    }
    if let Err(error) = store.close().await {
        tracing::warn!(error = chain(&error), "the store was not closed");
    }
    served.map_err(|error| CliError::caused("the API ended", &error))?;
    tracing::info!("ended");
    Ok(())
}

/// Listens, or says which flag changes the port.
async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen("--listen", address, &error))
}

/// Why `address` cannot be listened on, and which flag changes it.
pub(crate) fn cannot_listen(flag: &str, address: SocketAddr, error: &std::io::Error) -> CliError {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => CliError::new(format!(
            "port {} ({address}) is used by another program",
            address.port()
        ))
        .hint(format!(
            "end that program, or choose another port with {flag}"
        )),
        std::io::ErrorKind::PermissionDenied => CliError::new(format!(
            "port {} may not be used by this user",
            address.port()
        ))
        .hint(format!(
            "choose a port from 1024 with {flag}, or run this as root"
        )),
        std::io::ErrorKind::AddrNotAvailable => {
            CliError::new(format!("{} is no address of this machine", address.ip()))
                .hint(format!("choose another address with {flag}"))
        }
        _ => CliError::caused(format!("{address} cannot be listened on"), error)
            .hint(format!("choose another address with {flag}")),
    }
}

/// The control plane's parts, put together.
struct Platform {
    api: ApiState,
    supervisor: Supervisor,
    store: Arc<Embedded>,
}

impl Platform {
    async fn open(data: &DataDir, settings: &PlatformSettings) -> Result<Self> {
        let supervisor = Supervisor::new("control plane");
        let store = Arc::new(open_store(data).await?);
        let credential = PlatformCredential::generate()
            .map_err(|error| CliError::caused("a credential cannot be made", &error))?;
        let vault = Vault::open(&data.path().join("keys/secret.key"))
            .map_err(|error| CliError::new(chain(&error)))?;
        let id = platform_id(data.path())
            .map_err(|error| CliError::caused("the platform's id cannot be read", &error))?;
        let engine = DockerEngine::connect(DockerConfig::new(id, supervisor.child("docker")))
            .await
            .map_err(|error| CliError::caused("the Docker engine cannot be used", &error))?;
        let failed = |error| CliError::caused("the control plane cannot be opened", &error);
        let control = Control::open(
            Arc::clone(&store) as Arc<dyn Store>,
            engine,
            vault,
            control_settings(data, settings, &credential),
            &supervisor,
        )
        .await
        .map_err(failed)?;
        ensure_admin(data, &control).await?;
        let access = RegistryAccess::new(Authentication::new(control.clone()), credential);
        let registry = Registry::open(
            &data.path().join("registry"),
            Arc::new(access),
            coracle_registry::Limits::default(),
        )
        .map_err(|error| CliError::caused("the registry cannot be opened", &error))?;
        let controllers = Controllers::start(control.clone(), Options::default(), &supervisor);
        let statuses = Arc::new(Statuses(controllers));
        operator::listen(&data.run(), control.clone(), &supervisor)
            .map_err(|error| CliError::caused("the operator's socket cannot be made", &error))?;
        let gateway_token = data.read_gateway_token()?;
        let api = ApiState::new(
            control,
            registry,
            gateway_token,
            statuses,
            supervisor.clone(),
        );
        Ok(Self {
            api,
            supervisor,
            store,
        })
    }
}

/// How the controllers are, for the API.
struct Statuses(Controllers);

impl coracle_api::StatusSource for Statuses {
    fn controllers(&self) -> serde_json::Value {
        let by_name = |status: ControllerStatus| {
            let told = serde_json::to_value(&status).unwrap_or_default();
            (status.name.to_owned(), told)
        };
        self.0.statuses().into_iter().map(by_name).collect()
    }
}

async fn open_store(data: &DataDir) -> Result<Embedded> {
    let folder = data.path().join("store");
    let opened =
        tokio::task::spawn_blocking(move || Embedded::open(&folder, EmbeddedConfig::default()))
            .await
            .map_err(|error| CliError::caused("the store cannot be opened", &error))?;
    opened.map_err(|error| CliError::caused("the store cannot be opened", &error))
}

fn control_settings(
    data: &DataDir,
    settings: &PlatformSettings,
    credential: &PlatformCredential,
) -> Settings {
    Settings {
        data_dir: data.path().to_owned(),
        domain: settings.domain.clone(),
        http_port: settings.http.port(),
        registry_host: settings.local_listen().to_string(),
        registry_credentials: RegistryCredentials {
            user: PlatformCredential::USER.to_owned(),
            password: credential.secret().clone(),
        },
        limits: Limits::default(),
    }
}

/// At the very first start there is an administrator to be made. A password that was made up is left for whoever
/// started the platform in a file of their own: a log is read by too many.
async fn ensure_admin(data: &DataDir, control: &Control) -> Result {
    let given = env_vars::read(env_vars::ADMIN_PASSWORD).map(Secret::new);
    let made = coracle_api::ensure_admin(control, given)
        .await
        .map_err(|error| CliError::caused("the administrator cannot be made", &error))?;
    let Some(password) = made else {
        return Ok(());
    };
    let path = data.first_password();
    coracle_control::vault::write_private(&path, password.expose().as_bytes()).map_err(
        |error| CliError::caused(format!("{} cannot be written", path.display()), &error),
    )?;
    tracing::info!(
        file = %path.display(),
        "the first password of user admin is in this file: read it, then delete it"
    );
    Ok(())
}
