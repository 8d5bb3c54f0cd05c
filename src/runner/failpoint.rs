//! Points at which a test can kill, freeze or hold this process. Without the cargo feature `failpoints` they do
//! nothing; no release has them.

/// Does to this process what `BATCHCTL_FAILPOINT` asks for at the point `name`: `name=kill` (SIGKILL),
/// `name=stop` (SIGSTOP), `name=panic` (a bug) or `name=hold:PATH` (waits until the file exists). `name@3=kill` acts on the third pass.
#[cfg(feature = "failpoints")]
pub fn reach(config: &crate::config::Config, name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static PASSES: AtomicU64 = AtomicU64::new(0);

    let Some((point, action)) = config.failpoint().and_then(|failpoint| failpoint.split_once('=')) else {
        return;
    };
    let (point, pass) = match point.split_once('@') {
        Some((point, pass)) => (point, pass.parse().unwrap_or(1)),
        None => (point, 1),
    };
    if point != name || PASSES.fetch_add(1, Ordering::Relaxed) + 1 != pass {
        return;
    }
    match action.split_once(':') {
        None if action == "kill" => {
            let _ = kill_process(getpid(), Signal::KILL);
        }
        None if action == "stop" => {
            let _ = kill_process(getpid(), Signal::STOP);
        }
        // Of several lines, with what a terminal would obey.
        None if action == "panic" => panic!("a bug\nat the point {name}\u{1b}[31m"),
        Some(("hold", path)) => {
            // Tells the test that the point is reached, then waits for its signal.
            let _ = std::fs::write(format!("{path}.reached"), "");
            // Two minutes at most: a test that was killed never gives one.
            for _ in 0..24_000 {
                if std::path::Path::new(path).exists() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        _ => {}
    }
}

/// Does nothing: this build has no failpoints.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_config: &crate::config::Config, _name: &str) {}
