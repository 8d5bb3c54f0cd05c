//! Identifies a process, so that others can tell whether it is alive, and reads its resource usage.

use std::path::Path;

/// A process, distinguished from every other one that ever had its PID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessIdentity {
    /// The host's name; a pod's name in Kubernetes.
    pub host: String,
    /// The process number.
    pub pid: i64,
    /// When it started, in clock ticks since boot: a PID is reused, the pair is not.
    pub started_ticks: i64,
    /// The boot of the machine and the PID namespace: two containers on one machine number their processes separately.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// This process.
    pub(super) fn own() -> Self {
        let pid = i64::from(rustix::process::getpid().as_raw_nonzero().get());
        Self {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid,
            started_ticks: stat(pid).map_or(0, |(_, ticks)| ticks),
            boot_id: boot_id(),
        }
    }

    /// Whether this process is known to be stopped, by a signal or a debugger: it does nothing until it is continued.
    pub(super) fn is_known_stopped(&self, here: &Self) -> bool {
        self.host == here.host
            && self.boot_id == here.boot_id
            && stat(self.pid)
                .is_some_and(|(state, ticks)| matches!(state, 'T' | 't') && ticks == self.started_ticks)
    }

    /// Whether this process is known to be gone: it ran on this host, boot and namespace and no longer does. What
    /// cannot be known from here counts as alive; its lease decides.
    pub(super) fn is_known_dead(&self, here: &Self) -> bool {
        if self.host != here.host || self.boot_id != here.boot_id || !Path::new("/proc/self/stat").exists() {
            return false;
        }
        match stat(self.pid) {
            // A zombie has ended; its parent has just not waited for it yet.
            Some((state, ticks)) => state == 'Z' || state == 'X' || ticks != self.started_ticks,
            None => true,
        }
    }
}

/// The state and the start time of a process: fields 3 and 22 of /proc/PID/stat (proc(5)), counted after the command's
/// closing parenthesis, since a command may contain spaces and parentheses.
fn stat(pid: i64) -> Option<(char, i64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let ticks = fields.nth(18)?.parse().ok()?;
    Some((state, ticks))
}

fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let name_space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), name_space.display()).trim().to_owned()
}

/// What this process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// User and system time in milliseconds, including children that were waited for.
    pub cpu_time_ms: i64,
    /// The largest resident set in bytes.
    pub peak_memory_bytes: i64,
}

/// Reads what this process has used: `VmHWM` and the time fields of /proc (proc(5)). Zero where there is no /proc.
pub(super) fn usage() -> Usage {
    /// The kernel reports times to user space in this unit on every Linux architecture in use (`USER_HZ`).
    const TICKS_PER_SECOND: i64 = 100;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kibibytes: i64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.split_whitespace().next())
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: i64 = stat.rsplit_once(')').map_or(0, |(_, fields)| {
        fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<i64>().ok()).sum()
    });
    Usage { cpu_time_ms: ticks * 1000 / TICKS_PER_SECOND, peak_memory_bytes: kibibytes * 1024 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_a_reused_number_does_not() {
        let own = ProcessIdentity::own();
        assert!(!own.is_known_dead(&own));
        assert!(ProcessIdentity { started_ticks: own.started_ticks + 1, ..own.clone() }.is_known_dead(&own));
    }

    #[test]
    fn a_process_of_another_host_or_boot_is_not_judged_from_here() {
        let own = ProcessIdentity::own();
        let gone = ProcessIdentity { started_ticks: 0, ..own.clone() };
        assert!(!ProcessIdentity { host: "elsewhere".into(), ..gone.clone() }.is_known_dead(&own));
        assert!(!ProcessIdentity { boot_id: "before".into(), ..gone }.is_known_dead(&own));
    }

    #[test]
    fn an_ended_child_that_nobody_waited_for_is_dead() {
        let mut child = std::process::Command::new("true").spawn().expect("start `true`");
        let pid = i64::from(child.id());
        let identity = ProcessIdentity {
            pid,
            started_ticks: stat(pid).map_or(0, |(_, ticks)| ticks),
            ..ProcessIdentity::own()
        };
        while stat(pid).is_some_and(|(state, _)| state != 'Z') {
            std::thread::yield_now();
        }
        assert!(identity.is_known_dead(&ProcessIdentity::own()));
        child.wait().expect("wait for `true`");
    }
}
