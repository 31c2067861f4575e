//! The control plane in the foreground: where its parts are made and given to each other.
//!
//! Theory of operation: the lock on the data directory comes first, so that nothing is opened twice; then the
//! listener, so that a port that is taken is told at once and clients that come early wait in its queue; then
//! everything else, in the order in which it is needed. A store on servers may be away: then whoever asks is told so,
//! and everything is opened again and again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_api::{
    ApiState, Authentication, BuildTags, FirstAdmin, PlatformCredential, RegistryAccess,
};
use coracle_control::Control;
use coracle_control::objects::Objects;
use coracle_control::platform::{Platform as Common, PlatformError};
use coracle_control::settings::{Settings, platform_id};
use coracle_engine::ContextDesk;
use coracle_engine::build::RegistryCredentials;
use coracle_model::env::Secret;
use coracle_registry::Registry;
use coracle_task::{Drain, Supervisor};
use tokio::net::TcpListener;

use crate::data_dir::{DataDir, Part};
use crate::error::{CliError, Result};
use crate::leader::{Electorate, Office};
use crate::settings::{PlatformArgs, PlatformSettings, StoreKind};
use crate::store::{NotOpen, PlatformStore, gateway_token, open_vault, shared_dir};
use crate::waiting::Waiting;
use crate::{engine, env_vars, operator, runtime};

/// Threads that run the control plane: most of its time it waits.
const WORKERS: usize = 2;
/// How long the parts have to end after the API did.
const DRAIN: Duration = Duration::from_secs(10);
/// How long they have when another is about to lead.
const CUT: Duration = Duration::from_millis(200);
/// Between two tries to open everything on a store that is away.
const RETRY: Duration = Duration::from_secs(1);

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
    match ended? {
        Ended::Asked => Ok(()),
        Ended::LedNoMore => Err(replace_self()),
    }
}

/// Why the control plane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// It was asked to, or its listener failed.
    Asked,
    /// It led and does not any more: nothing that it had begun may go on.
    LedNoMore,
}

/// Becomes a new process of the same program and arguments, with the same process id. Returns only when it cannot.
fn replace_self() -> CliError {
    use std::os::unix::process::CommandExt as _;
    tracing::info!("starting anew, to follow another control plane");
    let error = std::process::Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(env_vars::LED_BEFORE, "1")
        .exec();
    CliError::caused("the control plane cannot start anew", &error)
}

async fn serve(data: &DataDir, settings: &PlatformSettings, started: Instant) -> Result<Ended> {
    let end = runtime::asked_to_end()?;
    tokio::pin!(end);
    data.prepare()?;
    if let Some(mode) = data.open_mode() {
        let mode = format!("{mode:o}");
        tracing::warn!(
            mode,
            "others than its owner may look into the data directory: chmod 700 it"
        );
    }
    let _lock = data.claim(Part::Serve).await?;
    let listener = bind("--listen", settings.listen).await?;
    let registry = match settings.registry_listen {
        Some(address) => Some(bind("--registry-listen", address).await?),
        None => None,
    };
    let listeners = [Some(&listener), registry.as_ref()];
    let mut waiting = Waiting::begin(data, listeners.into_iter().flatten())?;
    let opened = tokio::select! {
        opened = Platform::open(data, settings, &mut waiting) => Some(opened),
        () = &mut end => None,
    };
    waiting.end().await;
    let Some(platform) = opened.transpose()? else {
        tracing::info!("asked to end");
        return Ok(Ended::Asked);
    };
    let (supervisor, store, office) = (platform.supervisor, platform.store, platform.office);
    tracing::info!(
        address = %settings.listen,
        millis = started.elapsed().as_millis(),
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    let stop = supervisor.token();
    let stopper = stop.clone();
    let serving = serve_all(listener, registry, platform.api);
    tokio::pin!(serving);
    let mut ended = Ended::Asked;
    let served = tokio::select! {
        served = &mut serving => served,
        () = office.lost() => {
            // No other can lead before the margin of the lease is over: by then this process is another.
            stopper.cancel();
            ended = Ended::LedNoMore;
            Ok(())
        }
        () = &mut end => {
            tracing::info!("asked to end");
            stopper.cancel();
            serving.await
        }
    };
    let drain = match ended {
        Ended::Asked => DRAIN,
        Ended::LedNoMore => CUT,
    };
    if let Drain::Aborted(left) = supervisor.shutdown(drain).await {
        tracing::warn!(left, "tasks were cut at the drain deadline");
    }
    if ended == Ended::Asked {
        office.resign().await;
    }
    store.close().await;
    served.map_err(|error| CliError::caused("the API ended", &error))?;
    tracing::info!("ended");
    Ok(ended)
}

/// Serves at each listener until all are asked to end. One that cannot go on is not missed for long: it ends the others.
async fn serve_all(
    listener: TcpListener,
    registry: Option<TcpListener>,
    api: ApiState,
) -> std::result::Result<(), coracle_api::ServeError> {
    let for_nodes = async {
        match registry {
            Some(listener) => coracle_api::serve_registry(listener, api.clone()).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(coracle_api::serve(listener, api.clone()), for_nodes).map(drop)
}

/// Listens, or says which flag changes the port.
async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| cannot_listen(flag, address, &error))
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
    store: PlatformStore,
    office: Office,
}

impl Platform {
    /// Opens everything. A store on servers is waited for when it is away; when it refuses, only by a process that
    /// takes the place of one that led: whoever starts one for the first time learns of a wrong password at once.
    async fn open(
        data: &DataDir,
        settings: &PlatformSettings,
        waiting: &mut Waiting,
    ) -> Result<Self> {
        let led = env_vars::read(env_vars::LED_BEFORE).is_some();
        loop {
            let supervisor = Supervisor::new("control plane");
            let reason = match Self::try_open(data, settings, &supervisor).await {
                Ok(platform) => return Ok(platform),
                Err(NotOpen::Away(error)) if settings.store == StoreKind::Etcd => error,
                Err(NotOpen::Refused(error)) if led => error,
                Err(error) => return Err(error.error()),
            };
            supervisor.shutdown(CUT).await;
            waiting.because(&reason);
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn try_open(
        data: &DataDir,
        settings: &PlatformSettings,
        supervisor: &Supervisor,
    ) -> Result<Self, NotOpen> {
        const WHAT: &str = "the control plane cannot be opened";
        let store = PlatformStore::open(data, settings).await?;
        let vault = open_vault(data, settings)?;
        let common = join(data, settings, &store, &vault).await?;
        let credential = PlatformCredential::shared(common.credential);
        let id = common.id;
        let desk = ContextDesk::default();
        let engine = engine::open(settings, &id, &desk, supervisor).await?;
        let control = Control::open(
            store.as_store(),
            engine,
            vault,
            control_settings(data, settings, &credential),
            supervisor,
        )
        .await
        .map_err(|error| NotOpen::of_operation(WHAT, &error))?;
        let control = match settings.store {
            StoreKind::Embedded => control,
            StoreKind::Etcd => control.one_of_several(),
        };
        ensure_admin(data, &control).await?;
        let access = RegistryAccess::new(Authentication::new(control.clone()), credential);
        let registry = Registry::open(
            &shared_dir(data, settings).join("registry"),
            Arc::new(access),
            coracle_registry::Limits::default(),
        )
        .map_err(|error| CliError::caused("the registry cannot be opened", &error))?;
        let control = control.with_image_tags(Arc::new(BuildTags(registry.clone())));
        let office = Office::default();
        match &store {
            PlatformStore::Embedded(_) => office.alone(control.clone(), supervisor),
            PlatformStore::Etcd(store) => {
                let electorate = Electorate {
                    store: store.clone(),
                    data: data.clone(),
                    settings: settings.clone(),
                };
                office.stand(&control, electorate, supervisor)?;
            }
        }
        operator::listen(&data.run(), control.clone(), supervisor)
            .map_err(|error| CliError::caused("the operator's socket cannot be made", &error))?;
        let gateway_token = gateway_token(data, settings)?;
        let api = ApiState::new(
            control,
            registry,
            gateway_token,
            Arc::new(office.clone()),
            supervisor.clone(),
        )
        .with_desk(desk);
        Ok(Self {
            api,
            supervisor: supervisor.clone(),
            store,
            office,
        })
    }
}

/// What this control plane has in common with others on its store.
async fn join(
    data: &DataDir,
    settings: &PlatformSettings,
    store: &PlatformStore,
    vault: &coracle_control::vault::Vault,
) -> Result<Common, NotOpen> {
    // On one machine the id was there before the store had a record of it; and `down` needs it without the store.
    let id = match settings.store {
        StoreKind::Embedded => Some(
            platform_id(data.path())
                .map_err(|error| CliError::caused("the platform's id cannot be read", &error))?,
        ),
        StoreKind::Etcd => None,
    };
    let objects = Objects::new(store.as_store());
    let joined = Common::join(&objects, vault, id).await;
    joined.map_err(|error| match error {
        PlatformError::WrongKey => CliError::new(error.to_string()).hint(
            "give every control plane the same key: the file keys/secret.key in a --shared-dir, or CORACLE_SECRET_KEY",
        ).into(),
        PlatformError::Store(error) => {
            NotOpen::of_operation("what the control planes have in common cannot be read", &error)
        }
    })
}

fn control_settings(
    data: &DataDir,
    settings: &PlatformSettings,
    credential: &PlatformCredential,
) -> Settings {
    Settings {
        data_dir: data.path().to_owned(),
        shared_dir: shared_dir(data, settings),
        domain: settings.domain.clone(),
        http_port: settings.http.port(),
        registry_host: settings.local_listen().to_string(),
        registry_names: Vec::from_iter(settings.kubernetes.node_registry.clone()),
        base_images: settings.build.base_images.clone(),
        registry_credentials: RegistryCredentials {
            user: PlatformCredential::USER.to_owned(),
            password: credential.secret().clone(),
        },
        limits: settings.build.limits(),
    }
}

/// At the very first start there is an administrator to be made. A password that was made up is left for whoever
/// started the platform in a file of their own: a log is read by too many.
async fn ensure_admin(data: &DataDir, control: &Control) -> Result<(), NotOpen> {
    let path = data.first_password();
    let given = env_vars::read(env_vars::ADMIN_PASSWORD).map(Secret::new);
    let admin = coracle_api::ensure_admin(control, given, &path)
        .await
        .map_err(|error| NotOpen::of_operation("the administrator cannot be made", &error))?;
    if admin == FirstAdmin::MadeUp {
        tracing::info!(
            file = %path.display(),
            "the first password of user admin is in this file: read it, then delete it"
        );
    }
    Ok(())
}
