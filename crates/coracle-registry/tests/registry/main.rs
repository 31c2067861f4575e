//! The registry as its clients see it: every route through the router, on a real folder.

#[cfg(test)]
mod access;
#[cfg(test)]
mod blobs;
#[cfg(test)]
mod collect;
#[cfg(test)]
mod collect_beside;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod in_process;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tools;
