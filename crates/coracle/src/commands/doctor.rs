//! `coracle doctor`: what is wrong, and how to mend it. Works when the platform is down.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_control::leading::LeaderRecord;
use serde::Serialize;

use crate::context::Context;
use crate::data_dir::{DataDir, Part};
use crate::error::{CliError, Result, chain};
use crate::settings::{EngineKind, PlatformArgs, PlatformSettings, StoreKind};
use crate::store::PlatformStore;
use crate::table::{Cell, Table, bytes};

mod engine;

/// How long one check may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long etcd may take to say why it does not answer: as long as one of several members is tried after the other.
const ETCD_PATIENCE: Duration = Duration::from_secs(20);
/// Less room than this is a fault.
const LEAST_ROOM: u64 = 512 << 20;
/// Less room than this is worth a word.
const LITTLE_ROOM: u64 = 4 << 30;

/// Check Docker or the cluster, ports, disk, store and registry, and say how to mend what is wrong
///
/// What `coracle up` was told is remembered. Where flags or variables of `coracle serve` say how the platform runs, give doctor
/// the same ones: it takes all of them, and `coracle serve --help` describes them.
#[derive(Debug, clap::Args)]
#[command(mut_args(only_where))]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    platform: PlatformArgs,
}

/// Of the many flags only the one that most need: where the platform is.
fn only_where(flag: clap::Arg) -> clap::Arg {
    let others = flag.get_id() != "data_dir";
    flag.hide(others)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Ok,
            found: found.into(),
            mend: None,
        }
    }

    fn warn(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Warn,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn fail(what: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what,
            verdict: Verdict::Fail,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn of_error(what: &'static str, error: CliError) -> Self {
        let mend = error.hint.clone().unwrap_or_default();
        Self::fail(what, error.message, mend)
    }
}

pub(crate) async fn run(args: DoctorArgs, context: &Context) -> Result {
    let data = args.platform.place.resolve()?;
    let mut checks = Vec::new();
    let remembered = PlatformSettings::read(&data.settings()).unwrap_or_else(|error| {
        checks.push(Check::of_error("settings", error));
        None
    });
    let settings = PlatformSettings::choose(&args.platform, remembered)?;
    let (store, id) = match settings.store {
        StoreKind::Embedded => (store(&data), None),
        StoreKind::Etcd => etcd(&data, &settings).await,
    };
    match settings.engine {
        EngineKind::Docker => checks.push(engine::docker().await),
        EngineKind::Kubernetes => checks.extend(engine::cluster(&data, &settings, id).await),
    }
    checks.push(data_dir(&data, &settings));
    checks.extend([room("disk", data.path()), store]);
    checks.push(process(&data, &settings, Part::Serve));
    // In a pod the gateways are pods of their own.
    if !settings.kubernetes.in_pod() {
        checks.push(process(&data, &settings, Part::Gateway));
    }
    checks.push(api(&data, &settings).await);
    checks.push(registry(&data, &settings).await);
    let failed = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Fail)
        .count();
    context.printer.list(checks, table)?;
    match failed {
        0 => Ok(()),
        1 => Err(CliError::new("1 check failed")),
        n => Err(CliError::new(format!("{n} checks failed"))),
    }
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["CHECK", "STATE", "FOUND"], "nothing was checked");
    for check in checks {
        table.row(vec![
            check.what.into(),
            Cell::phase(&check.verdict),
            (&check.found).into(),
        ]);
        if let Some(mend) = check.mend.as_ref().filter(|mend| !mend.is_empty()) {
            table.row(vec!["".into(), "".into(), format!("→ {mend}").into()]);
        }
    }
    table
}

/// What so much free room means.
fn of_room(what: &'static str, free: u64, found: String) -> Check {
    let mend = "make room: `docker system df` shows what Docker has";
    if free < LEAST_ROOM {
        Check::fail(what, found, mend)
    } else if free < LITTLE_ROOM {
        Check::warn(what, found, mend)
    } else {
        Check::ok(what, found)
    }
}

/// Is it there, and for its owner only? A pod has nobody else, and a volume for its group.
fn data_dir(data: &DataDir, settings: &PlatformSettings) -> Check {
    const WHAT: &str = "data directory";
    let folder = data.path().display();
    if !data.path().exists() {
        return Check::warn(
            WHAT,
            format!("{folder} is not there yet"),
            "`coracle up` makes it",
        );
    }
    let open = data.open_mode();
    if let Some(mode) = open.filter(|_| !settings.kubernetes.in_pod()) {
        return Check::warn(
            WHAT,
            format!("others may look into {folder} (mode {mode:o})"),
            format!("chmod 700 {folder}"),
        );
    }
    match std::fs::read_dir(data.path()) {
        Ok(_) => Check::ok(WHAT, folder.to_string()),
        Err(error) => Check::fail(
            WHAT,
            format!("{folder}: {error}"),
            "run this as the user who started the platform",
        ),
    }
}

/// The nearest folder that exists: that is where the data directory will be.
fn existing(path: &Path) -> PathBuf {
    let found = path.ancestors().find(|folder| folder.exists());
    found.unwrap_or_else(|| Path::new("/")).to_owned()
}

fn room(what: &'static str, path: &Path) -> Check {
    let folder = existing(path);
    let shown = folder.display();
    match rustix::fs::statvfs(&folder) {
        Err(error) => Check::fail(what, format!("{shown}: {error}"), "look at the file system"),
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let told = format!("{} free at {shown}", bytes(free));
            of_room(what, free, told)
        }
    }
}

fn store(data: &DataDir) -> Check {
    const WHAT: &str = "store";
    let file = data.path().join("store/store.redb");
    match std::fs::metadata(&file) {
        Ok(found) => Check::ok(WHAT, format!("{}, {}", file.display(), bytes(found.len()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::warn(WHAT, "there is none yet", "`coracle up` makes it")
        }
        Err(error) => Check::fail(
            WHAT,
            format!("{}: {error}", file.display()),
            "run this as the user who started the platform",
        ),
    }
}

/// Does etcd answer, does it take writes, and who leads? Also the platform's id, which stands there.
async fn etcd(data: &DataDir, settings: &PlatformSettings) -> (Check, Option<String>) {
    const WHAT: &str = "store";
    let opening = PlatformStore::open(data, settings);
    let opened = match tokio::time::timeout(ETCD_PATIENCE, opening).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return (Check::of_error(WHAT, error.error()), None),
        Err(_elapsed) => {
            let found = format!(
                "etcd does not answer at {}",
                settings.etcd.endpoints.join(",")
            );
            let mend = "see that its members run and can be reached";
            return (Check::fail(WHAT, found, mend), None);
        }
    };
    let store = opened.as_store();
    let found = format!("etcd at {}", settings.etcd.endpoints.join(","));
    let writable = store.writable().await;
    let leader = store.get(coracle_control::keys::LEADER).await;
    let check = match leader {
        Ok(_) if let Err(error) = &writable => Check::fail(
            WHAT,
            format!("etcd is read, but takes no writes: {error}"),
            "",
        ),
        Ok(Some(entry)) => {
            let record = serde_json::from_slice::<LeaderRecord>(&entry.value);
            let name = record.map(|record| record.name).unwrap_or_default();
            Check::ok(WHAT, format!("{found}, {name} leads"))
        }
        Ok(None) => Check::warn(
            WHAT,
            format!("{found}, no control plane leads"),
            "`coracle up` starts one",
        ),
        Err(error) => Check::fail(WHAT, error.to_string(), ""),
    };
    let platform = store.get(coracle_control::keys::PLATFORM).await;
    let id = platform.ok().flatten().and_then(|entry| {
        let record: serde_json::Value = serde_json::from_slice(&entry.value).ok()?;
        let id = record.pointer("/object/id").or(record.pointer("/id"))?;
        Some(id.as_str()?.to_owned())
    });
    opened.close().await;
    (check, id)
}

/// Runs it and answers its port, or is the port free for it?
fn process(data: &DataDir, settings: &PlatformSettings, part: Part) -> Check {
    let (flag, address, local) = match part {
        Part::Serve => ("--listen", settings.listen, settings.local_listen()),
        Part::Gateway => ("--http", settings.http, settings.local_http()),
    };
    let what = part.noun();
    match data.running(part) {
        Err(error) => Check::of_error(what, error),
        Ok(Some(process)) => {
            let id = process.id();
            if answers(local) {
                Check::ok(what, format!("process {id} listens on {address}"))
            } else {
                Check::fail(
                    what,
                    format!("process {id} runs, but {local} takes no connections"),
                    format!("look into {}", data.log(part).display()),
                )
            }
        }
        Ok(None) => match TcpListener::bind(address) {
            Ok(_free) => Check::warn(
                what,
                format!("does not run; {address} is free"),
                "`coracle up` starts it",
            ),
            Err(error) => Check::of_error(what, crate::serve::cannot_listen(flag, address, &error)),
        },
    }
}

fn answers(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE).is_ok()
}

async fn get(url: String) -> std::result::Result<reqwest::Response, String> {
    let asked = async { reqwest::get(&url).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(chain(&error.without_url())),
        Err(_elapsed) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn api(data: &DataDir, settings: &PlatformSettings) -> Check {
    const WHAT: &str = "api";
    if !matches!(data.running(Part::Serve), Ok(Some(_))) {
        return Check::warn(WHAT, "not asked: the control plane does not run", "");
    }
    let log = data.log(Part::Serve);
    let mend = format!("look into {}", log.display());
    match get(format!("{}/readyz", settings.url())).await {
        Ok(answer) => {
            let status = answer.status();
            // Its own words say why not.
            let said = answer.text().await.unwrap_or_default();
            let said = said.trim();
            match status.is_success() {
                true if said == "ready" => Check::ok(WHAT, said),
                true => Check::warn(WHAT, said, mend),
                false => Check::fail(WHAT, format!("answers with {status}: {said}"), mend),
            }
        }
        Err(error) => Check::fail(WHAT, error, mend),
    }
}

async fn registry(data: &DataDir, settings: &PlatformSettings) -> Check {
    const WHAT: &str = "registry";
    if !matches!(data.running(Part::Serve), Ok(Some(_))) {
        return Check::warn(WHAT, "not asked: the control plane does not run", "");
    }
    let mend = format!("look into {}", data.log(Part::Serve).display());
    match get(format!("{}/v2/", settings.url())).await {
        // Nobody gets in without credentials: that it asks for them is what shows that it is there.
        Ok(answer) if matches!(answer.status().as_u16(), 200 | 401) => {
            Check::ok(WHAT, format!("answers at {}", settings.local_listen()))
        }
        Ok(answer) => Check::fail(WHAT, format!("answers with {}", answer.status()), mend),
        Err(error) => Check::fail(WHAT, error, mend),
    }
}
