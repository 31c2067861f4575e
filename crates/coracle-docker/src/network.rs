//! Networks of projects.
//!
//! Theory of operation: Docker's own address pools end at about 31 networks, so each project's network gets a
//! `/24` out of the platform's pool. Other programs make networks at the same time, so a subnet that looked free
//! may be refused: then the next one is tried. Docker keeps networks apart from each other by its own rules;
//! within one network pods reach each other.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptions, RemoveContainerOptions,
};
use coracle_engine::EngineError;
use coracle_engine::wish::Wish;
use coracle_model::name::ProjectName;
use coracle_model::workload::PodId;

use crate::client::{engine_error, ignore_missing, is_missing, status_of, words_of};
use crate::facts::{PLATFORM, PROJECT};
use crate::state::Core;
use crate::subnet::Subnet;

/// So many subnets are tried when others are quicker.
const SUBNET_TRIES: usize = 16;
/// A network's removal waits so often, and so long each time, for containers that just ended.
const REMOVE_TRIES: u32 = 20;
const REMOVE_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// A project's network.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) subnet: Subnet,
    /// The address that was given out last.
    pub(crate) last: Option<Ipv4Addr>,
    /// Addresses that somebody else in the network has.
    pub(crate) avoid: BTreeSet<Ipv4Addr>,
}

/// Makes sure that a project has its network.
pub(crate) async fn ensure(core: &Core, project: &ProjectName) -> Result<(), EngineError> {
    if core.with(|state| state.networks.contains_key(project)) {
        return Ok(());
    }
    let docker = core.client.docker().await?;
    let _one = core.network_making.lock().await;
    if core.with(|state| state.networks.contains_key(project)) {
        return Ok(());
    }
    let name = core.names.network(project);
    let subnet = match inspect(&docker, &name).await? {
        Some(network) => own_subnet(core, project, &network)?,
        None => create(core, &docker, project, &name).await?,
    };
    core.with(|state| {
        state
            .networks
            .entry(project.clone())
            .or_insert_with(|| Network {
                subnet,
                last: None,
                avoid: BTreeSet::new(),
            });
    });
    Ok(())
}

async fn inspect(docker: &Docker, name: &str) -> Result<Option<NetworkInspect>, EngineError> {
    match docker
        .inspect_network(name, None::<InspectNetworkOptions>)
        .await
    {
        Ok(network) => Ok(Some(network)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(engine_error(error)),
    }
}

fn own_subnet(
    core: &Core,
    project: &ProjectName,
    network: &NetworkInspect,
) -> Result<Subnet, EngineError> {
    let label = |name: &str| {
        network
            .labels
            .as_ref()
            .and_then(|l| l.get(name))
            .map(String::as_str)
    };
    if label(PLATFORM) != Some(&core.config.platform) || label(PROJECT) != Some(project.as_str()) {
        return Err(EngineError::Refused(format!(
            "the network name {} is taken by a network that is not this platform's",
            core.names.network(project)
        )));
    }
    network
        .ipam
        .as_ref()
        .and_then(|i| i.config.as_ref())
        .and_then(|c| c.first())
        .and_then(|c| c.subnet.as_deref())
        .and_then(Subnet::parse)
        .ok_or_else(|| {
            EngineError::Refused(format!(
                "the network {} has no subnet of its own",
                core.names.network(project)
            ))
        })
}

async fn create(
    core: &Core,
    docker: &Docker,
    project: &ProjectName,
    name: &str,
) -> Result<Subnet, EngineError> {
    let (first, prefix) = core.config.subnet_pool;
    let pool = Subnet::new(first, prefix);
    let mut taken = taken_subnets(docker).await?;
    for _ in 0..SUBNET_TRIES {
        let Some(subnet) = pool.free_within(&taken).next() else {
            return Err(EngineError::Full(format!(
                "every subnet of the pool {pool} is in use"
            )));
        };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam {
                config: Some(vec![IpamConfig {
                    subnet: Some(subnet.to_string()),
                    gateway: Some(subnet.gateway().to_string()),
                    ..IpamConfig::default()
                }]),
                ..Ipam::default()
            }),
            labels: Some(HashMap::from([
                (PLATFORM.to_owned(), core.config.platform.clone()),
                (PROJECT.to_owned(), project.to_string()),
            ])),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(request).await {
            Ok(_) => return Ok(subnet),
            Err(error) if status_of(&error).is_some() && words_of(&error).contains("overlap") => {
                taken.push(subnet);
            }
            Err(error) => return Err(engine_error(error)),
        }
    }
    Err(EngineError::Full(
        "other programs took every subnet that was tried".to_owned(),
    ))
}

/// Subnets that networks of Docker or routes of the host have.
async fn taken_subnets(docker: &Docker) -> Result<Vec<Subnet>, EngineError> {
    let networks = docker
        .list_networks(None::<ListNetworksOptions>)
        .await
        .map_err(engine_error)?;
    let mut taken: Vec<Subnet> = networks
        .into_iter()
        .filter_map(|network| network.ipam?.config)
        .flatten()
        .filter_map(|config| Subnet::parse(&config.subnet?))
        .collect();
    // A host without this file has no routes that we could spoil.
    let routes = tokio::fs::read_to_string("/proc/net/route")
        .await
        .unwrap_or_default();
    taken.extend(routes.lines().skip(1).filter_map(route));
    Ok(taken)
}

/// Reads a line of `/proc/net/route`; the default route stands in nobody's way.
fn route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_ascii_whitespace();
    let hex = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let destination = hex(fields.nth(1)?)?;
    let mask = hex(fields.nth(5)?)?;
    let prefix = u8::try_from(mask.leading_ones()).ok()?;
    (prefix > 0).then(|| Subnet::new(Ipv4Addr::from(destination), prefix))
}

/// Gives a pod an address that no other pod of the project has.
pub(crate) fn reserve(core: &Core, pod: &PodId) -> Result<Ipv4Addr, EngineError> {
    core.with(|state| {
        let taken = state.addresses(&pod.project);
        let network = state.networks.get_mut(&pod.project).ok_or_else(|| {
            EngineError::Full(format!("project {} has no network yet", pod.project))
        })?;
        // A pod that is tried again keeps what it has.
        if let Some(address) = state.pods.get(pod).and_then(|pod| pod.address)
            && !network.avoid.contains(&address)
            && network.subnet.contains(address)
        {
            return Ok(address);
        }
        let all: BTreeSet<Ipv4Addr> = taken.union(&network.avoid).copied().collect();
        let address = network
            .subnet
            .next_address(network.last, &all)
            .ok_or_else(|| {
                EngineError::Full(format!(
                    "every address of project {} ({}) is in use",
                    pod.project, network.subnet
                ))
            })?;
        network.last = Some(address);
        if let Some(pod) = state.pods.get_mut(pod) {
            pod.address = Some(address);
        }
        Ok(address)
    })
}

/// Removes a project's network and the pods that are left in it.
pub(crate) async fn remove(
    core: &std::sync::Arc<Core>,
    project: &ProjectName,
) -> Result<(), EngineError> {
    let docker = core.client.docker().await?;
    let workloads: Vec<_> = core.with(|state| {
        for (id, wish) in &mut state.wishes {
            if id.project == *project {
                *wish = Wish::Gone;
            }
        }
        let of_pods = state.pods.values().map(|pod| pod.facts.workload.clone());
        let mut all: BTreeSet<_> = of_pods.filter(|id| id.project == *project).collect();
        for id in &all {
            state.wishes.insert(id.clone(), Wish::Gone);
        }
        all.extend(
            state
                .wishes
                .keys()
                .filter(|id| id.project == *project)
                .cloned(),
        );
        all.into_iter().collect()
    });
    for id in &workloads {
        core.reconcile(id);
    }
    let _one = core.network_making.lock().await;
    core.with(|state| state.networks.remove(project));
    let name = core.names.network(project);
    let Some(network) = inspect(&docker, &name).await? else {
        return Ok(());
    };
    own_subnet(core, project, &network)?;
    for _ in 0..REMOVE_TRIES {
        remove_pods(core, &docker, project).await?;
        match ignore_missing(docker.remove_network(&name).await) {
            Ok(()) => return Ok(()),
            // A container that was being made when they were listed.
            Err(error) if words_of(&error).contains("active endpoints") => {
                tokio::time::sleep(REMOVE_PAUSE).await;
            }
            Err(error) => return Err(engine_error(error)),
        }
    }
    Err(EngineError::Refused(format!(
        "the network {name} is used by containers that are not this platform's"
    )))
}

async fn remove_pods(
    core: &std::sync::Arc<Core>,
    docker: &Docker,
    project: &ProjectName,
) -> Result<(), EngineError> {
    let containers = crate::observe::list(core, docker).await?;
    for container in containers
        .into_iter()
        .filter(|c| c.facts.pod.project == *project)
    {
        let force = RemoveContainerOptions {
            force: true,
            ..RemoveContainerOptions::default()
        };
        let removed = docker.remove_container(&container.id, Some(force)).await;
        match ignore_missing(removed) {
            Ok(()) => core.vanished(&container.id),
            // Its removal is in progress already: the network's removal tells whether it is done.
            Err(error) if status_of(&error) == Some(409) => {}
            Err(error) => return Err(engine_error(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_host_are_read() {
        let line = "eth0\t0011A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        assert_eq!(route(line).unwrap().to_string(), "192.168.17.0/24");
        let default = "eth0\t00000000\t0111A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        assert_eq!(route(default), None);
        assert_eq!(route("nonsense"), None);
    }
}
