//! A database that becomes unreachable: the run never counts as completed, the exit code says "try again later", and
//! the next start finishes. SQLite's file cannot become unreachable on its only host.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{BACKFILL, NIGHTLY, TradingShop, reported_days, results, runs};
use crate::support::{Database, run_on};

#[test]
fn a_database_that_is_not_there_at_the_start_changes_nothing() {
    on_postgres(|shop| {
        let before = shop.dump();
        let proxy = Proxy::start(shop);
        proxy.cut();
        shop.batchctl(NIGHTLY)
            .env("BATCHCTL_DATABASE_URL", &proxy.url)
            .run()
            .exits(75)
            .says("failed to connect to PostgreSQL at `127.0.0.1:");
        assert_eq!(shop.dump(), before);
    });
}

#[test]
fn a_connection_ended_by_the_server_in_a_chunk_fails_the_run_and_the_next_start_finishes() {
    on_postgres(|shop| {
        let mut run = shop.batchctl(NIGHTLY).hold_at("in-chunk");
        run.wait_until_reached();
        end_connections(shop, run.process().pid());
        run.release().wait().exits(75).says("lost the connection to the database");
        // The server itself is reachable, so the end could be written.
        assert_eq!(runs(shop), [["2026-11-19", "1", "FAILED", "75"]]);
        assert_eq!(reported_days(shop), Vec::<Vec<String>>::new());

        shop.batchctl(NIGHTLY).run().succeeds().is_silent();
        assert_eq!(runs(shop)[1], ["2026-11-19", "2", "COMPLETED", "0"]);
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    });
}

#[test]
fn a_connection_ended_by_the_server_before_the_end_is_written_is_opened_again() {
    on_postgres(|shop| {
        let mut run = shop.batchctl(NIGHTLY).hold_at("before-finish");
        run.wait_until_reached();
        end_connections(shop, run.process().pid());
        run.release().wait().succeeds().is_silent();
        assert_eq!(runs(shop), [["2026-11-19", "1", "COMPLETED", "0"]]);
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    });
}

#[test]
fn a_database_that_goes_away_in_a_chunk_fails_the_run_and_the_next_start_finishes() {
    on_postgres(|shop| {
        let proxy = Proxy::start(shop);
        let mut run = shop.batchctl(BACKFILL).env("BATCHCTL_DATABASE_URL", &proxy.url).hold_at("in-chunk@2");
        run.wait_until_reached();
        proxy.cut();
        let ran = run.release().wait().exits(75).says("failed to write the run's end");
        let ran = ran
            .says("next:  it runs by itself when the database is back")
            .never_shows("run the same command");
        assert!(ran.stderr.lines().count() <= 20, "{}", ran.stderr);
        assert_eq!(
            runs(shop),
            [["2026-11-16", "1", "COMPLETED", "0"], ["2026-11-17", "1", "RUNNING", "NULL"]]
        );

        shop.batchctl(BACKFILL).run().succeeds().is_silent();
        assert_eq!(
            runs(shop),
            [
                ["2026-11-16", "1", "COMPLETED", "0"],
                ["2026-11-17", "1", "CRASHED", "NULL"],
                // The start, which is done by then.
                ["", "1", "FAILED", "75"],
                ["2026-11-17", "2", "COMPLETED", "0"],
                ["2026-11-18", "1", "COMPLETED", "0"],
            ]
        );
        assert_eq!(results(shop), shop.undisturbed(&BACKFILL));
    });
}

#[test]
fn a_database_that_goes_away_before_the_end_is_written_does_not_read_as_completed() {
    on_postgres(|shop| {
        let proxy = Proxy::start(shop);
        let mut run =
            shop.batchctl(NIGHTLY).env("BATCHCTL_DATABASE_URL", &proxy.url).hold_at("before-finish");
        run.wait_until_reached();
        proxy.cut();
        run.release().wait().exits(75).says("failed to write the run's end");
        assert_eq!(runs(shop), [["2026-11-19", "1", "RUNNING", "NULL"]]);

        shop.batchctl(NIGHTLY).run().succeeds().is_silent();
        assert_eq!(
            runs(shop),
            [
                ["2026-11-19", "1", "CRASHED", "NULL"],
                ["", "1", "FAILED", "75"],
                ["2026-11-19", "2", "COMPLETED", "0"]
            ]
        );
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    });
}

#[test]
fn a_start_that_gets_no_answer_about_its_lease_is_made_up_for() {
    on_postgres(|shop| {
        let proxy = Proxy::start(shop);
        let mut start =
            shop.batchctl(NIGHTLY).env("BATCHCTL_DATABASE_URL", &proxy.url).hold_at("before-lease");
        start.wait_until_reached();
        proxy.fall_silent();
        start.release().wait().exits(75).says("failed to get the lease: the database does not answer");
        drop(proxy);
        assert_eq!(reported_days(shop), Vec::<Vec<String>>::new());
        shop.batchctl(["runs", "process-requests"]).run().succeeds();
        assert_eq!(reported_days(shop), [["2026-11-19", "3"]]);
    });
}

#[test]
fn a_database_that_falls_silent_does_not_hold_a_run_past_its_deadline_forever() {
    on_postgres(|shop| {
        let proxy = Proxy::start(shop);
        let mut run = shop
            .batchctl(["report", "daily-sales", "--timeout", "1s"])
            .env("BATCHCTL_DATABASE_URL", &proxy.url)
            .hold_at("after-lease");
        run.wait_until_reached();
        proxy.fall_silent();
        run.release().wait().exits(124).says("the deadline passed");
        drop(proxy);
        shop.batchctl(NIGHTLY).run().succeeds().is_silent();
        assert_eq!(
            runs(shop),
            [["2026-11-19", "1", "CRASHED", "NULL"], ["2026-11-19", "2", "COMPLETED", "0"]]
        );
        assert_eq!(results(shop), shop.undisturbed(&NIGHTLY));
    });
}

fn on_postgres(test: impl FnOnce(&TradingShop)) {
    run_on(Database::Postgres, test);
}

/// Ends the connections of a process, as an administrator or a restarting server would.
#[track_caller]
fn end_connections(shop: &TradingShop, pid: u32) {
    let ended = shop.sql(&format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE 'batchctl {pid}.%'"
    ));
    // A report holds a second one while it computes.
    assert!(matches!(ended.len(), 1 | 2) && ended.iter().all(|ended| ended == &["1"]), "{ended:?}");
}

/// A TCP proxy in front of PostgreSQL, whose cable can be pulled.
struct Proxy {
    /// The shop's database, by way of the proxy.
    url: String,
    address: SocketAddr,
    cable: Arc<Cable>,
}

#[derive(Default)]
struct Cable {
    is_cut: AtomicBool,
    is_silent: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    fn start(shop: &TradingShop) -> Self {
        let mut url = url::Url::parse(shop.database_url()).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(address.port())).unwrap();
        let cable = Arc::new(Cable::default());
        let accepting = Arc::clone(&cable);
        thread::spawn(move || {
            for client in listener.incoming() {
                // Leaving the loop closes the port: from then on connections are refused.
                if accepting.is_cut.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { continue };
                accepting.keep(&client);
                accepting.keep(&server);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let cable = Arc::clone(&accepting);
                    thread::spawn(move || cable.carry(from, to));
                }
            }
        });
        Self { url: url.to_string(), address, cable }
    }

    /// Ends all connections and refuses new ones.
    fn cut(&self) {
        self.cable.is_cut.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, and waits until it has closed the port.
        while TcpStream::connect(self.address).is_ok() {
            thread::yield_now();
        }
        for end in self.cable.lock().iter() {
            // A connection that is already closed is fine.
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// From now on accepts everything and forwards nothing, like a network that drops packets.
    fn fall_silent(&self) {
        self.cable.is_silent.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Cable {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, stream: &TcpStream) {
        self.lock().push(stream.try_clone().unwrap());
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if !self.is_silent.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
