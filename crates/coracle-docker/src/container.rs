//! A container asked for, and a container read.
//!
//! Theory of operation: what a pod may do is decided here and nowhere else. Containers live on without the
//! control plane (`unless-stopped`), keep their address over restarts (it is a static one), publish nothing on
//! the host, and have few rights: no new privileges, few capabilities, bounded processes and memory.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, EndpointIpamConfig,
    EndpointSettings, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType,
    NetworkingConfig, RestartPolicy, RestartPolicyNameEnum,
};
use chrono::{DateTime, Utc};
use coracle_model::release::CommandLine;
use coracle_model::workload::{PodTemplate, Terminal};

use crate::config::DockerConfig;
use crate::facts::Facts;
use crate::naming::{Names, hostname};

/// The capabilities that ordinary images need to change to their own user and to bind low ports. Of Docker's
/// default set these are left out: raw sockets, device nodes, chroot, file capabilities, audit records.
pub(crate) const CAPABILITIES: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
];

/// A log file of a container grows to this, and so many are kept.
const LOG_FILE_SIZE: &str = "10m";
const LOG_FILES: &str = "3";

/// May an init process be put before the command? It reaps zombies and hands signals on, so that a command
/// that does not handle SIGTERM ends at once instead of after its grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    /// The daemon has one.
    Yes,
    /// It has none.
    No,
}

/// What the daemon is asked for, for a pod. But for the image, which has another name where it was just pulled.
pub(crate) fn create_body(
    config: &DockerConfig,
    names: &Names,
    facts: &Facts,
    template: &PodTemplate,
    address: Ipv4Addr,
    init: Init,
) -> ContainerCreateBody {
    let (entrypoint, cmd) = match &template.command {
        None => (None, None),
        Some(CommandLine::Shell(line)) => (
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned()]),
            Some(vec![line.clone()]),
        ),
        // The first word as entrypoint: the image's own must not be put before it.
        Some(CommandLine::Exec(words)) => (
            Some(words.iter().take(1).cloned().collect()),
            Some(words.iter().skip(1).cloned().collect()),
        ),
    };
    let terminal = facts.kind.terminal();
    let attached = terminal.is_some();
    let network = names.network(&facts.pod.project);
    let endpoint = EndpointSettings {
        ipam_config: Some(EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..EndpointIpamConfig::default()
        }),
        aliases: Some(aliases(facts, template)),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        hostname: Some(hostname(&facts.pod.name)),
        entrypoint,
        cmd,
        env: Some(environment(template)),
        labels: Some(facts.to_labels(&config.platform)),
        tty: Some(matches!(terminal, Some(Terminal::Tty { .. }))),
        open_stdin: Some(attached),
        stdin_once: Some(attached),
        attach_stdin: Some(attached),
        attach_stdout: Some(attached),
        attach_stderr: Some(attached),
        stop_timeout: Some(whole_seconds(template.stop_grace)),
        // The platform asks itself; an image's own health check would run programs in the pod for nobody.
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(config, names, facts, template, init)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(
    config: &DockerConfig,
    names: &Names,
    facts: &Facts,
    template: &PodTemplate,
    init: Init,
) -> HostConfig {
    let memory = template.resources.memory.unwrap_or(config.default_memory).0;
    let memory = i64::try_from(memory).unwrap_or(i64::MAX);
    let restart = if facts.kind.is_task() {
        RestartPolicyNameEnum::NO
    } else {
        RestartPolicyNameEnum::UNLESS_STOPPED
    };
    HostConfig {
        network_mode: Some(names.network(&facts.pod.project)),
        restart_policy: Some(RestartPolicy {
            name: Some(restart),
            maximum_retry_count: None,
        }),
        init: Some(init == Init::Yes),
        privileged: Some(false),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.iter().map(|c| (*c).to_owned()).collect()),
        pids_limit: Some(i64::from(config.pids)),
        memory: Some(memory),
        // Memory and swap together: equal means no swap, so that a limit is one.
        memory_swap: Some(memory),
        nano_cpus: template
            .resources
            .cpu
            .map(|cpu| i64::from(cpu.milli()) * 1_000_000),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
                ("max-file".to_owned(), LOG_FILES.to_owned()),
            ])),
        }),
        mounts: Some(
            template
                .volumes
                .iter()
                .map(|mount| Mount {
                    typ: Some(MountType::VOLUME),
                    source: Some(names.volume(&facts.pod.project, &mount.volume)),
                    target: Some(mount.path.clone()),
                    read_only: Some(false),
                    ..Mount::default()
                })
                .collect(),
        ),
        publish_all_ports: Some(false),
        ..HostConfig::default()
    }
}

fn aliases(facts: &Facts, template: &PodTemplate) -> Vec<String> {
    let mut aliases = vec![facts.pod.name.to_string()];
    for name in &template.names {
        if !aliases.contains(name) {
            aliases.push(name.clone());
        }
    }
    aliases
}

fn environment(template: &PodTemplate) -> Vec<String> {
    let mut env: Vec<String> = template
        .env
        .iter()
        .map(|(name, value)| format!("{name}={}", value.expose()))
        .collect();
    let told = template.env.iter().any(|(name, _)| name.as_str() == "PORT");
    if let Some(port) = template.port
        && !told
    {
        env.push(format!("PORT={port}"));
    }
    env
}

/// Docker counts graces in whole seconds; nobody gets less than was promised.
pub(crate) fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// Made, never started (or its start failed).
    Created,
    /// It runs.
    Running,
    /// It runs, frozen.
    Paused,
    /// It ended; Docker starts it again after a pause.
    Restarting,
    /// It ended and stays so.
    Ended,
    /// It is being removed.
    Removing,
}

/// A container of the platform as it was last read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) facts: Facts,
    pub(crate) state: ContainerState,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) created: DateTime<Utc>,
    pub(crate) started: Option<DateTime<Utc>>,
    pub(crate) finished: Option<DateTime<Utc>>,
    pub(crate) exit_code: i64,
    pub(crate) out_of_memory: bool,
    pub(crate) restart_count: u32,
    pub(crate) error: Option<String>,
    pub(crate) memory_limit: Option<u64>,
    /// Its first process, while it runs.
    pub(crate) process: Option<u32>,
    /// Names of Docker volumes that it mounts.
    pub(crate) volumes: Vec<String>,
}

impl Container {
    /// Reads what `docker inspect` says. Nothing when it is not one of the platform's pods.
    pub(crate) fn read(
        config: &DockerConfig,
        names: &Names,
        response: ContainerInspectResponse,
    ) -> Option<Self> {
        let labels = response.config.as_ref()?.labels.as_ref()?;
        let facts = Facts::from_labels(labels, &config.platform)?;
        let name = response.name.as_deref()?.trim_start_matches('/');
        if name != names.container(&facts.pod) {
            return None;
        }
        let state = response.state?;
        let address = response
            .network_settings
            .as_ref()
            .and_then(|s| s.networks.as_ref())
            .and_then(|n| n.get(&names.network(&facts.pod.project)))
            .and_then(|e| {
                let asked = e.ipam_config.as_ref().and_then(|c| c.ipv4_address.clone());
                asked.or_else(|| e.ip_address.clone())
            })
            .and_then(|a| a.parse().ok());
        Some(Self {
            id: response.id?,
            state: match state.status? {
                ContainerStateStatusEnum::RUNNING => ContainerState::Running,
                ContainerStateStatusEnum::PAUSED => ContainerState::Paused,
                ContainerStateStatusEnum::RESTARTING => ContainerState::Restarting,
                ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::STOPPING => {
                    ContainerState::Removing
                }
                ContainerStateStatusEnum::CREATED => ContainerState::Created,
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::EMPTY => ContainerState::Ended,
            },
            address,
            created: response.created.unwrap_or_else(Utc::now),
            started: moment(state.started_at.as_deref()),
            finished: moment(state.finished_at.as_deref()),
            exit_code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or(false),
            restart_count: response
                .restart_count
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or_default(),
            process: state
                .pid
                .and_then(|pid| u32::try_from(pid).ok())
                .filter(|pid| *pid > 0),
            error: state.error.filter(|e| !e.is_empty()),
            memory_limit: response
                .host_config
                .and_then(|h| h.memory)
                .and_then(|m| u64::try_from(m).ok())
                .filter(|m| *m > 0),
            volumes: response
                .mounts
                .unwrap_or_default()
                .into_iter()
                .filter_map(|m| m.name)
                .collect(),
            facts,
        })
    }
}

/// Reads a moment; Docker writes the year 1 for "never".
fn moment(text: Option<&str>) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text?)
        .ok()?
        .with_timezone(&Utc);
    (at.timestamp() > 0).then_some(at)
}

/// What of a failed start a person must read: runc's message without the layers around it.
pub(crate) fn start_error(message: &str) -> String {
    let message = message.trim().trim_end_matches(": unknown");
    if let Some(at) = message.find("exec: \"") {
        return message[at..].to_owned();
    }
    for layer in [
        "starting container process caused: ",
        "OCI runtime create failed: ",
        "failed to create shim task: ",
    ] {
        if let Some((_, inner)) = message.split_once(layer) {
            return inner.to_owned();
        }
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_is_told_in_few_words() {
        let long = "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"foo\": executable file not found in $PATH: unknown";
        assert_eq!(
            start_error(long),
            "exec: \"foo\": executable file not found in $PATH"
        );
        assert_eq!(start_error("no such thing\n"), "no such thing");
    }

    #[test]
    fn a_grace_is_never_cut() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }

    #[test]
    fn the_year_one_is_never() {
        assert_eq!(moment(Some("0001-01-01T00:00:00Z")), None);
        assert!(moment(Some("2024-05-01T10:00:00.123456789Z")).is_some());
    }
}
