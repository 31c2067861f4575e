//! The table in force, and who is in flight.
//!
//! Theory of operation: requests look up, pick a pod and count themselves in flight **under one read lock**
//! ([`Routes::pick`]); a new table is swapped in under the write lock ([`Routes::apply`]). So when `apply`
//! returns, every request that picked from an older table has already counted itself, and every later one picks
//! from the new table. A report is built after `apply`: it can say "none in flight" of an address that left the
//! table only when it is true and stays true. That is the law by which the control plane stops pods. A retry picks
//! anew, from the table as it is then.
//!
//! The read lock is held for a lookup and two loads, never across an await.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use coracle_model::route::{GatewayReport, RouteTable, Target};

use crate::balance;
use crate::endpoint::{Endpoint, InFlight};
use crate::refusal::Refusal;
use crate::signals::Signals;
use crate::traffic::App;

/// The table in force.
#[derive(Debug)]
pub(crate) struct Routes {
    state: RwLock<State>,
    signals: Arc<Signals>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until the first table, from disk or from the control plane.
    table: Option<Arc<RouteTable>>,
    hosts: HashMap<String, HostRoute>,
    /// Every address of the table.
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    /// Addresses that left the table with requests in flight.
    draining: HashMap<SocketAddr, Arc<Endpoint>>,
    apps: HashMap<String, Arc<App>>,
}

#[derive(Debug)]
struct HostRoute {
    app: Arc<App>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Pods(Vec<Arc<Endpoint>>),
    Starting,
    Failed(Arc<str>),
    Stopped,
}

/// What became of a table that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is in force now.
    New,
    /// It was in force already.
    Same,
    /// It is older than the one in force, and was ignored.
    Stale {
        /// Generation in force.
        current: u64,
    },
}

/// A pod chosen for a request, which is in flight from here on.
#[derive(Debug)]
pub(crate) struct Pick {
    pub(crate) app: Arc<App>,
    pub(crate) in_flight: InFlight,
}

impl Routes {
    pub(crate) fn new(signals: Arc<Signals>) -> Self {
        Self {
            state: RwLock::default(),
            signals,
        }
    }

    /// Chooses a pod for `host`, leaving out the `tried` ones, and counts the request in flight.
    pub(crate) fn pick(&self, host: &str, tried: &[SocketAddr]) -> Result<Pick, Refusal> {
        let state = self.read();
        let Some(route) = state.hosts.get(host) else {
            return Err(match state.table {
                Some(_) => Refusal::NoSuchApp {
                    host: host.to_owned(),
                },
                None => Refusal::NoTable,
            });
        };
        let app = &route.app;
        match &route.way {
            Way::Pods(pods) => match balance::choose(pods, tried, |n| fastrand::usize(..n)) {
                Some(pod) => Ok(Pick {
                    app: Arc::clone(app),
                    in_flight: InFlight::begin(pod),
                }),
                None => Err(Refusal::Unreachable {
                    app: Arc::clone(app),
                }),
            },
            Way::Starting => Err(Refusal::Starting {
                app: Arc::clone(app),
            }),
            Way::Stopped => Err(Refusal::Stopped {
                app: Arc::clone(app),
            }),
            Way::Failed(reason) => Err(Refusal::Failed {
                app: Arc::clone(app),
                reason: Arc::clone(reason),
            }),
        }
    }

    /// Puts `table` in force, unless it is older than the one that is.
    pub(crate) fn apply(&self, table: RouteTable) -> Applied {
        let mut leaving = Vec::new();
        {
            let mut state = self.write();
            if let Some(current) = &state.table {
                if table.generation < current.generation {
                    return Applied::Stale {
                        current: current.generation,
                    };
                }
                if **current == table {
                    return Applied::Same;
                }
            }
            let next = self.compile(&state, table);
            let before = std::mem::replace(&mut *state, next);
            for endpoint in state.endpoints.values() {
                endpoint.enlist();
            }
            for (addr, endpoint) in before.endpoints.into_iter().chain(before.draining) {
                if !state.endpoints.contains_key(&addr) {
                    leaving.push(endpoint.retire());
                    if endpoint.load() > 0 {
                        state.draining.insert(addr, endpoint);
                    }
                }
            }
        }
        // Closing sockets takes system calls: not while requests wait for the lock.
        drop(leaving);
        Applied::New
    }

    /// What to tell the control plane now; `None` before the first table.
    pub(crate) fn report(&self) -> Option<GatewayReport> {
        self.signals.reporting();
        let mut state = self.write();
        let generation = state.table.as_ref()?.generation;
        let mut draining = BTreeMap::new();
        state.draining.retain(|addr, endpoint| {
            let load = endpoint.load();
            if load > 0 {
                draining.insert(*addr, load);
            }
            load > 0
        });
        let apps = state
            .apps
            .iter()
            .map(|(key, app)| (key.clone(), app.read()))
            .collect();
        Some(GatewayReport {
            generation,
            draining,
            apps,
        })
    }

    /// The table in force.
    pub(crate) fn table(&self) -> Option<Arc<RouteTable>> {
        self.read().table.clone()
    }

    /// Closes connections to pods that nobody used for long. Returns how many unused ones are left.
    pub(crate) fn sweep(&self) -> usize {
        let endpoints: Vec<_> = self.read().endpoints.values().cloned().collect();
        endpoints.iter().map(|e| e.sweep()).sum()
    }

    fn compile(&self, before: &State, table: RouteTable) -> State {
        let mut next = State::default();
        for (host, route) in &table.routes {
            let key = format!("{}/{}", route.project, route.app);
            let app = next
                .apps
                .entry(key)
                .or_insert_with_key(|key| match before.apps.get(key) {
                    Some(app) => Arc::clone(app),
                    None => Arc::new(App::new(route.app.clone(), Arc::clone(&self.signals))),
                });
            let app = Arc::clone(app);
            let way = match &route.target {
                Target::Pods { pods } if !pods.is_empty() => Way::Pods(
                    pods.iter()
                        .map(|a| self.endpoint(before, &mut next, *a))
                        .collect(),
                ),
                // "Never empty" is the table's law; a pod-less app is one that starts.
                Target::Pods { .. } | Target::Starting => Way::Starting,
                Target::Failed { reason } => Way::Failed(reason.as_str().into()),
                Target::Stopped => Way::Stopped,
            };
            next.hosts
                .insert(host.as_str().to_owned(), HostRoute { app, way });
        }
        next.table = Some(Arc::new(table));
        next
    }

    fn endpoint(&self, before: &State, next: &mut State, addr: SocketAddr) -> Arc<Endpoint> {
        let endpoint = next.endpoints.entry(addr).or_insert_with(|| {
            match before
                .endpoints
                .get(&addr)
                .or_else(|| before.draining.get(&addr))
            {
                Some(endpoint) => Arc::clone(endpoint),
                None => Arc::new(Endpoint::new(addr, Arc::clone(&self.signals))),
            }
        });
        Arc::clone(endpoint)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_model::name::{AppName, Hostname, ProjectName};
    use coracle_model::route::Route;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn table(generation: u64, pods: &[SocketAddr]) -> RouteTable {
        let route = Route {
            project: ProjectName::default_project(),
            app: AppName::new("app").unwrap(),
            target: Target::Pods {
                pods: pods.to_vec(),
            },
        };
        RouteTable {
            generation,
            routes: [(Hostname::new("app.example").unwrap(), route)].into(),
        }
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], n))
    }

    /// The law: once a report after `apply` says that an address has nothing in flight, nothing is in flight to it,
    /// and nothing ever will be until a table has it again.
    #[test]
    fn an_address_reported_idle_is_idle() {
        const ROUNDS: u16 = 2_000;
        let routes = Routes::new(Arc::new(Signals::default()));
        routes.apply(table(0, &[addr(1)]));
        let stopped: Vec<AtomicBool> = (0..=ROUNDS + 1).map(|_| AtomicBool::new(false)).collect();
        let end = AtomicBool::new(false);
        let (routes, stopped, end) = (&routes, &stopped, &end);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    while !end.load(Ordering::SeqCst) {
                        let pick = routes.pick("app.example", &[]).unwrap();
                        let port = usize::from(pick.in_flight.endpoint().addr.port());
                        assert!(
                            !stopped[port].load(Ordering::SeqCst),
                            "picked a stopped pod"
                        );
                        std::thread::yield_now();
                        assert!(
                            !stopped[port].load(Ordering::SeqCst),
                            "stopped under a request"
                        );
                        drop(pick);
                    }
                });
            }
            for round in 1..=ROUNDS {
                assert_eq!(
                    routes.apply(table(round.into(), &[addr(round + 1)])),
                    Applied::New
                );
                loop {
                    let report = routes.report().unwrap();
                    assert_eq!(report.generation, u64::from(round));
                    if !report.draining.contains_key(&addr(round)) {
                        break;
                    }
                    std::thread::yield_now();
                }
                stopped[usize::from(round)].store(true, Ordering::SeqCst);
            }
            end.store(true, Ordering::SeqCst);
        });
        assert!(
            routes.read().draining.is_empty(),
            "nothing is kept of addresses that left"
        );
    }

    #[test]
    fn the_end_of_a_drain_wakes_the_reporter() {
        let signals = Arc::new(Signals::default());
        let routes = Routes::new(Arc::clone(&signals));
        routes.apply(table(1, &[addr(1)]));
        let (one, two) = (
            routes.pick("app.example", &[]).unwrap(),
            routes.pick("app.example", &[]).unwrap(),
        );
        let mut urgent = Box::pin(signals.urgent.notified());
        let mut woken = || futures::FutureExt::now_or_never(urgent.as_mut()).is_some();
        assert!(!woken());
        routes.apply(table(2, &[]));
        assert_eq!(routes.report().unwrap().draining[&addr(1)], 2);
        drop(one);
        assert!(!woken());
        drop(two);
        assert!(woken());
        assert!(routes.report().unwrap().draining.is_empty());
    }

    #[test]
    fn generations_only_grow() {
        let routes = Routes::new(Arc::new(Signals::default()));
        assert!(routes.report().is_none());
        assert!(matches!(
            routes.pick("app.example", &[]),
            Err(Refusal::NoTable)
        ));
        assert_eq!(routes.apply(table(5, &[addr(1)])), Applied::New);
        assert_eq!(routes.apply(table(5, &[addr(1)])), Applied::Same);
        assert_eq!(
            routes.apply(table(4, &[addr(2)])),
            Applied::Stale { current: 5 }
        );
        assert_eq!(
            routes
                .pick("app.example", &[])
                .unwrap()
                .in_flight
                .endpoint()
                .addr,
            addr(1)
        );
        // A control plane that was restored may reuse a number; what it says last counts.
        assert_eq!(routes.apply(table(5, &[addr(2)])), Applied::New);
        assert_eq!(
            routes
                .pick("app.example", &[])
                .unwrap()
                .in_flight
                .endpoint()
                .addr,
            addr(2)
        );
    }
}
