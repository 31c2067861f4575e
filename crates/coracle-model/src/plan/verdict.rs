//! Is a pod at fault, and how to say so in plain words.
//!
//! Theory of operation: a new release is ended by what its pods show (they crash again and again, are out of
//! memory, cannot be started) or by time alone (they never answer). What is said about it is the one thing
//! that a person reads of a failed deployment, so it names the process, says what was seen, and where that is
//! known, what to do.

use std::time::Duration;

use crate::pod::{Exit, ExitCause, PodPhase};
use crate::release::{Health, ProcessSpec};
use crate::workload::ObservedPod;

/// What a process of a release is expected to be, as far as blame depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// What it is called, such as `web`.
    pub name: &'a str,
    /// What it was asked to be.
    pub spec: &'a ProcessSpec,
    /// The port that it must listen on.
    pub port: Option<u16>,
    /// So many restarts are too many.
    pub crash_limit: u32,
}

/// Tries after which a pod that was never started is not waited for any longer.
const START_TRIES: u32 = 2;

/// What is wrong with a pod beyond waiting, if anything.
#[must_use]
pub fn fault(expect: Expectation<'_>, pod: &ObservedPod) -> Option<String> {
    let name = expect.name;
    let status = &pod.status;
    if let Some(exit) = &status.exit
        && exit.cause == ExitCause::OutOfMemory
        && !status.phase.can_serve()
    {
        return Some(match expect.spec.memory {
            Some(limit) => {
                format!("{name} used more memory than its limit of {limit} and was killed")
            }
            None => format!("{name} used up its memory and was killed"),
        });
    }
    if status.restarts >= expect.crash_limit && !status.phase.can_serve() {
        return Some(match &status.exit {
            Some(exit) => format!("{name} {} {}", ended(exit), times(status.restarts)),
            None => format!("{name} was started again {}", times(status.restarts)),
        });
    }
    let why = || {
        let reason = status.reason.as_deref();
        reason.unwrap_or("the engine does not say why")
    };
    match (status.phase, &status.exit) {
        (PodPhase::Failed, Some(exit)) if exit.code != 0 => Some(format!("{name} {}", ended(exit))),
        (PodPhase::Failed, _) if status.started.is_none() => {
            Some(format!("{name} could not be started: {}", why()))
        }
        // Anything else that failed was started once and then lost (somebody removed it): it is replaced.
        (PodPhase::Pending, _) if status.started.is_none() && status.restarts >= START_TRIES => {
            Some(format!("{name} could not be started: {}", why()))
        }
        _ => None,
    }
}

/// What to say of a process whose pods were not all ready in time. `pod` is one that is not; `None` when
/// there is none at all.
#[must_use]
pub fn late(expect: Expectation<'_>, pod: Option<&ObservedPod>, within: Duration) -> String {
    let name = expect.name;
    let seconds = within.as_secs();
    let Some(pod) = pod else {
        return format!("{name} had too few pods after {seconds} s");
    };
    let said = pod
        .status
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    match (pod.status.phase, expect.port) {
        (PodPhase::Starting | PodPhase::Unready, Some(port)) => match &expect.spec.health {
            Some(Health {
                path: Some(path), ..
            }) => format!(
                "{name} did not answer GET {path} on port {port} with status 200 to 399 within {seconds} s{said}"
            ),
            _ => format!("{name} does not listen on port {port} (it must listen on 0.0.0.0:$PORT)"),
        },
        _ => match &pod.status.exit {
            Some(exit) => format!(
                "{name} {} and was not ready within {seconds} s",
                ended(exit)
            ),
            None => format!("{name} was not started within {seconds} s{said}"),
        },
    }
}

/// How a command ended, as it goes on after its name.
#[must_use]
pub fn ended(exit: &Exit) -> String {
    match (exit.cause, exit.code) {
        (ExitCause::OutOfMemory, _) => "used up its memory and was killed".to_owned(),
        (_, 0) => "exited with status 0 (it must keep running)".to_owned(),
        (_, 126) => "exited with status 126 (its command cannot be executed)".to_owned(),
        (_, 127) => "exited with status 127 (its command was not found)".to_owned(),
        (_, code @ 129..=192) => match signal(code - 128) {
            Some(signal) => format!("was killed by {signal}"),
            None => format!("was killed by signal {}", code - 128),
        },
        (_, code) => format!("exited with status {code}"),
    }
}

fn signal(number: i64) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

fn times(n: u32) -> String {
    match n {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        3 => "three times".to_owned(),
        4 => "four times".to_owned(),
        5 => "five times".to_owned(),
        n => format!("{n} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_in_plain_words() {
        let said = |code, cause| {
            ended(&Exit {
                code,
                cause,
                at: None,
            })
        };
        let by_itself = |code| said(code, ExitCause::Exited);
        assert_eq!(by_itself(1), "exited with status 1");
        assert_eq!(by_itself(0), "exited with status 0 (it must keep running)");
        assert_eq!(by_itself(139), "was killed by SIGSEGV");
        assert_eq!(by_itself(163), "was killed by signal 35");
        assert_eq!(by_itself(255), "exited with status 255");
        assert_eq!(
            said(137, ExitCause::OutOfMemory),
            "used up its memory and was killed"
        );
    }
}
